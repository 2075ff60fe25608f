/** What a pool of leases stands on: somewhere that keeps rows, has a clock, and changes one row at a time. */

import type { LeaseConfig } from '../generated.js'
import type { Decided, LeaseCommand, LeaseRow } from './row.js'

/** The command that gives a gateway to an organization. */
export type AllocateCommand = Extract<LeaseCommand, { type: 'allocate' }>

/** Any other command. */
export type GatewayCommand = Exclude<LeaseCommand, { type: 'allocate' }>

/** A row as it was read, and when. */
export interface ListedRow {
  readonly row: LeaseRow
  /** The time by the store's clock. Milliseconds. */
  readonly now: number
}

/**
 * Keeps the rows of gateways. Every decision is the core's ({@link decideLease}); a store adds durability, a
 * clock and that no two decisions about one row, and no two rows of one organization, meet.
 *
 * When a promise resolves, what was decided is durable. The same for every store is proved by one suite.
 *
 * @throws LeaseStoreUnavailable Every method rejects with it when the store cannot be reached in time; whether
 *   the command took effect is then unknown.
 */
export interface LeaseStore {
  /** Adds a gateway to the pool, or changes its address. Never changes its lease. */
  enrol(gateway: string, address: string): Promise<void>
  /** Decides about the row of one gateway; undefined when there is none. */
  decide(gateway: string, command: GatewayCommand, terms: LeaseConfig): Promise<Decided | undefined>
  /**
   * Gives a gateway to an organization (L2). The row that was granted for this request decides; without one, the
   * row of this organization; without one, any free row that nobody else is changing, without waiting. Undefined
   * when there is none. Where time had ended what the organization had, that is decided and refused; ask again.
   */
  allocate(command: AllocateCommand, terms: LeaseConfig): Promise<Decided | undefined>
  /** The gateways whose state's time is over; the longest first, at most so many. */
  due(most: number): Promise<string[]>
  /** Every row, or the one of this gateway, as it is stored: time has not led it on. */
  list(gateway?: string): Promise<ListedRow[]>
  /** Lets go of what it holds. */
  close(): Promise<void>
}
