/**
 * The row of a gateway, and the core's decision about it.
 *
 * A row has texts for names where the core has numbers. The core only asks whether two of them are the same, so
 * within one decision 1 stands for the row's organization (or request) and 2 for any other.
 */

import { BugError } from '../errors.js'
import type { LeaseCause, LeaseConfig, LeaseEffect, LeaseInput, LeaseState } from '../generated.js'
import { native } from '../native.js'

/** What a store keeps about one gateway. Times are milliseconds of the store's clock. */
export interface LeaseRow {
  readonly gateway: string
  /** Where the control plane reaches the gateway. */
  readonly address: string
  readonly state: LeaseState
  /** The last epoch that was granted. Never lost, never lowered. */
  readonly epoch: number
  /** The latest life of the gateway that held a lease. */
  readonly incarnation: number
  /** The last request that was granted. */
  readonly request: string | null
  /** How often in a row the gateway was quarantined. */
  readonly failures: number
  /** Whose it is, or whose route may be left. */
  readonly organization: string | null
  /** Under which name that organization reaches it. */
  readonly hostname: string | null
  /** When time leads it on. */
  readonly until: number | null
  /** Why it is held or quarantined. */
  readonly cause: LeaseCause | null
  /** From when on another bad observation ends the lease. */
  readonly suspect: number | null
  /** Until when the epoch before is honoured too. */
  readonly predecessor: number | null
  /** The attempt to un-route, from 1. */
  readonly attempt: number | null
  /** Whether that attempt is under way, or the next one waits. */
  readonly unrouting: 'running' | 'pausing' | null
  /** Whether a quarantined gateway may still have a route. */
  readonly routed: boolean | null
}

/** A free gateway: one that was never allocated, unless it is said what its row keeps of earlier leases. */
export function freshRow(
  gateway: string,
  address: string,
  kept: Pick<LeaseRow, 'epoch' | 'incarnation' | 'failures' | 'request'> = NEVER_ALLOCATED,
): LeaseRow {
  const { epoch, incarnation, failures, request } = kept
  return { ...UNSAID, gateway, address, state: 'free', epoch, incarnation, request, failures }
}

const NEVER_ALLOCATED = { epoch: 0, incarnation: 0, failures: 0, request: null }

const UNSAID = {
  organization: null,
  hostname: null,
  until: null,
  cause: null,
  suspect: null,
  predecessor: null,
  attempt: null,
  unrouting: null,
  routed: null,
}

/** A command on a row, by the names of organizations and requests. */
export type LeaseCommand =
  | Exclude<LeaseInput, { type: 'allocate' }>
  | {
      readonly type: 'allocate'
      readonly organization: string
      readonly request: string
      /** Under which name the organization will reach it. */
      readonly hostname: string
    }

/** The answer to a command. Organizations and requests are in the row. */
export type LeaseReply = Exclude<LeaseEffect, { type: 'entered' | 'unroute' | 'route-left' }>

/** What follows from a change of the row. */
export type LeaseConsequence = Extract<LeaseEffect, { type: 'entered' | 'unroute' | 'route-left' }>

/** A decision. */
export interface Decided {
  readonly before: LeaseRow
  readonly after: LeaseRow
  readonly answer: LeaseReply
  /** To be carried out once the row is stored. */
  readonly effects: readonly LeaseConsequence[]
}

/** The states in which a row counts for its organization, of which there may be one only. */
export const LIVE: readonly LeaseState[] = ['allocating', 'active', 'held', 'releasing']

/** Whether a row counts for its organization. */
export function isLive(row: LeaseRow): boolean {
  return LIVE.includes(row.state)
}

/** The last epoch: 2^53 - 1. */
export const MAX_EPOCH = Number.MAX_SAFE_INTEGER

/** A row as the core has it. */
interface CoreRow {
  epoch: number
  incarnation: number
  request: number | null
  failures: number
  standing: { state: LeaseState } & Partial<Omit<LeaseRow, 'organization'> & { organization: number }>
}

/** What each state keeps beside its name: all that `standing` may hold. */
const KEPT: Record<LeaseState, readonly (keyof LeaseRow)[]> = {
  free: [],
  allocating: ['until'],
  active: ['until', 'suspect', 'predecessor'],
  held: ['until', 'cause'],
  releasing: ['until', 'attempt', 'unrouting'],
  quarantined: ['until', 'cause', 'routed'],
  retired: [],
}

const SAME = 1
/** The number of an organization that is not the row's. */
export const OTHER = 2

/**
 * What a command does to a row at the store's `now`: the core decides.
 *
 * @throws BugError when the row is none that decisions can have led to.
 */
export function decideLease(row: LeaseRow, command: LeaseCommand, now: number, terms: LeaseConfig): Decided {
  const { state, epoch, incarnation, failures } = row
  const standing: Record<string, unknown> = { state }
  if (row.organization !== null) standing.organization = SAME
  for (const field of KEPT[state]) standing[field] = row[field]
  const request = row.request === null ? null : SAME
  const core = { epoch, incarnation, request, failures, standing }
  let said: string
  try {
    said = native.leaseDecide(
      JSON.stringify(core),
      JSON.stringify(numbered(row, command)),
      now,
      JSON.stringify(terms),
    )
  } catch (cause) {
    throw new BugError(`the row of gateway ${row.gateway}: ${(cause as Error).message}`, { cause })
  }
  const decided = JSON.parse(said) as { row: CoreRow; answer: LeaseReply; effects: LeaseConsequence[] }
  const { answer, effects } = decided
  return { before: row, after: named(row, command, decided.row), answer, effects }
}

function numbered(row: LeaseRow, command: LeaseCommand): LeaseInput {
  if (command.type !== 'allocate') return command
  return {
    type: 'allocate',
    organization: command.organization === row.organization ? SAME : OTHER,
    request: command.request === row.request ? SAME : OTHER,
  }
}

/** The row with its names again. */
function named(row: LeaseRow, command: LeaseCommand, core: CoreRow): LeaseRow {
  const { epoch, incarnation, failures, standing } = core
  const { state } = standing
  const granted = command.type === 'allocate' && epoch > row.epoch ? command : undefined
  const { organization, hostname } = granted ?? row
  const kept: Record<string, unknown> = { ...UNSAID }
  if (standing.organization !== undefined) Object.assign(kept, { organization, hostname })
  for (const field of KEPT[state]) kept[field] = standing[field]
  return {
    ...(kept as typeof UNSAID),
    gateway: row.gateway,
    address: row.address,
    state,
    epoch,
    incarnation,
    request: granted?.request ?? row.request,
    failures,
  }
}
