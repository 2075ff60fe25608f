/**
 * What a process is given by the one that starts it: listening sockets, and a channel to the old process that it may
 * take over from.
 *
 * Sockets come as systemd passes them (`sd_listen_fds(3)`): descriptors from 3 on, `LISTEN_FDS` says how many,
 * `LISTEN_FDNAMES` their names with colons between, `LISTEN_PID` for whom they are. An old process cannot know the id
 * of a process that it has not started yet; it leaves `LISTEN_PID` out, and sets `TIDEGATE_HANDOFF` as well, a JSON
 * object:
 *
 * | field | |
 * | --- | --- |
 * | `channel` | the descriptor of the channel (see `wire.ts`) |
 * | `parent` | the process id of the old process |
 * | `older` | descriptors that close when generations before the old one have ended; default none |
 * | `ports` | the real port of each socket, 0 for what has none |
 * | `foreign` | the places of sockets that a service manager holds as well; default none |
 */

import { closeSync } from 'node:fs'
import process from 'node:process'
import { TidegateError } from '../errors.js'

/** By systemd's protocol, the first descriptor that is passed. */
const FIRST = 3
/** By systemd's protocol, the longest name of a socket. */
const MOST_NAME = 255

/** A listening socket that was passed to this process. */
export interface InheritedSocket {
  /** Empty when it has none. */
  readonly name: string
  readonly fd: number
  /** Its real port, as far as is known. */
  readonly port: number | undefined
  /** Whether a service manager holds it as well: it is not ours to shut. */
  readonly foreign: boolean
}

/** The way back to an old process. */
export interface Ancestry {
  readonly channel: number
  readonly parent: number
  readonly older: readonly number[]
}

/** All that was passed. */
export interface Inheritance {
  readonly sockets: readonly InheritedSocket[]
  /** Present when this process is to take over from an old one. */
  readonly from: Ancestry | undefined
}

/** A socket to be passed on. */
export interface PassedSocket {
  readonly name: string
  readonly fd: number
  readonly port: number
  readonly foreign: boolean
}

const NOTHING: Inheritance = { sockets: [], from: undefined }
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'TIDEGATE_HANDOFF']

/**
 * Takes what was passed to this process, out of its environment: only the first to ask gets it, and no other process
 * that is started from here finds it.
 *
 * @throws {@link TidegateError} `bad-inheritance` when the environment makes no sense.
 */
export function takeInheritance(
  environment: NodeJS.ProcessEnv = process.env,
  pid = process.pid,
): Inheritance {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, TIDEGATE_HANDOFF } = environment
  for (const variable of VARIABLES) delete environment[variable]
  if (TIDEGATE_HANDOFF === undefined) {
    // Meant for a process that started this one.
    if (LISTEN_FDS === undefined || LISTEN_PID !== `${pid}`) return NOTHING
    return { sockets: socketsOf(LISTEN_FDS, LISTEN_FDNAMES, undefined), from: undefined }
  }
  const handoff = parse(TIDEGATE_HANDOFF)
  return {
    sockets: socketsOf(LISTEN_FDS ?? '0', LISTEN_FDNAMES, handoff),
    from: { channel: handoff.channel, parent: handoff.parent, older: handoff.older ?? [] },
  }
}

/** What a successor finds in its environment when these sockets are passed to it, in this order. */
export function bequest(
  sockets: readonly PassedSocket[],
  parent: number,
  older: number,
): { environment: Record<string, string>; channel: number } {
  const channel = FIRST + sockets.length
  const handoff: Handoff = {
    channel,
    parent,
    older: Array.from({ length: older }, (_, index) => channel + 1 + index),
    ports: sockets.map(({ port }) => port),
    foreign: sockets.flatMap(({ foreign }, index) => (foreign ? [index] : [])),
  }
  const environment = {
    LISTEN_FDS: `${sockets.length}`,
    LISTEN_FDNAMES: sockets.map(({ name }) => name).join(':'),
    TIDEGATE_HANDOFF: JSON.stringify(handoff),
  }
  return { environment, channel }
}

/** @throws RangeError for a name that systemd's protocol cannot carry. */
export function assertName(name: string): void {
  if (/^[\x20-\x7e]+$/.test(name) && !name.includes(':') && name.length <= MOST_NAME) return
  throw new RangeError(
    `the name of a listener is ${JSON.stringify(name)}, must be 1 to ${MOST_NAME} printable ASCII characters without colons`,
  )
}

/** Closes a descriptor that nobody uses. */
export function closeDescriptor(fd: number): void {
  try {
    closeSync(fd)
  } catch {
    // It was closed already.
  }
}

interface Handoff {
  channel: number
  parent: number
  older?: number[]
  ports?: number[]
  foreign?: number[]
}

function parse(text: string): Handoff {
  const isNumber = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
  const areNumbers = (value: unknown) =>
    value === undefined || (Array.isArray(value) && value.every(isNumber))
  try {
    const handoff = JSON.parse(text) as Handoff
    const { channel, parent, older, ports, foreign } = handoff
    if (isNumber(channel) && isNumber(parent) && [older, ports, foreign].every(areNumbers)) return handoff
  } catch {
    // The error below says it.
  }
  throw new TidegateError('bad-inheritance', `TIDEGATE_HANDOFF makes no sense: ${text.slice(0, 200)}`)
}

function socketsOf(
  count: string,
  names: string | undefined,
  handoff: Handoff | undefined,
): InheritedSocket[] {
  if (!/^\d{1,6}$/.test(count)) {
    throw new TidegateError('bad-inheritance', `LISTEN_FDS is ${JSON.stringify(count)}, must be a number`)
  }
  const named = names === undefined || names === '' ? [] : names.split(':')
  if (named.length > 0 && named.length !== Number(count)) {
    throw new TidegateError(
      'bad-inheritance',
      `LISTEN_FDNAMES has ${named.length} names for ${count} sockets`,
    )
  }
  return Array.from({ length: Number(count) }, (_, index) => ({
    name: named[index] ?? '',
    fd: FIRST + index,
    port: handoff?.ports?.[index],
    foreign: handoff ? (handoff.foreign?.includes(index) ?? false) : true,
  }))
}
