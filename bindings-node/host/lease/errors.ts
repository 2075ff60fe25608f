/** What can go wrong with a lease, each with a code. */

import { TidegateError } from '../errors.js'
import type { LeaseRefusal } from '../generated.js'

/**
 * The granter said no, and nothing has changed. Code: the {@link LeaseRefusal}, such as `stale-epoch` (a later
 * epoch was granted since), `fenced` (another life of the gateway has the lease) or `no-lease`.
 */
export class LeaseRefused extends TidegateError {
  declare readonly code: LeaseRefusal
  /** The gateway that it is about. */
  readonly gateway: string
  /** The last epoch that was granted. Never to be used by who was refused. */
  readonly epoch: number

  constructor(command: string, gateway: string, refusal: LeaseRefusal, epoch: number) {
    super(refusal, `${command} of gateway ${JSON.stringify(gateway)} was refused: ${REASONS[refusal]}`)
    this.gateway = gateway
    this.epoch = epoch
  }
}

const REASONS: Record<LeaseRefusal, string> = {
  'stale-epoch': 'a later epoch was granted since',
  'never-granted': 'no such epoch was granted yet',
  fenced: 'another life of the gateway has the lease, or this one stopped',
  'no-lease': 'it has no lease that this could be about',
  unconfirmed: 'its handshake is under way',
  taken: 'another organization has it',
  releasing: "the organization's last lease is being released; ask again",
  unavailable: 'it is out of the pool',
  'request-over': 'this request was granted before, and that lease is over',
  'in-use': 'that would cut a lease',
}

/** No gateway is free. Code `pool-exhausted`. */
export class PoolExhausted extends TidegateError {
  constructor() {
    super('pool-exhausted', 'no gateway of the pool is free')
  }
}

/** The pool has no such gateway. Code `unknown-gateway`. */
export class UnknownGateway extends TidegateError {
  readonly gateway: string

  constructor(gateway: string) {
    super('unknown-gateway', `the pool has no gateway ${JSON.stringify(gateway)}: enrol it first`)
    this.gateway = gateway
  }
}

/**
 * The store could not be reached, or did not answer in time; whether the command took effect is unknown. The
 * commands of a pool can be repeated. Code `lease-store-unavailable`.
 */
export class LeaseStoreUnavailable extends TidegateError {
  constructor(what: string, options: { cause?: unknown; because?: string } = {}) {
    const { cause, because = cause instanceof Error ? cause.message : 'it did not answer' } = options
    super('lease-store-unavailable', `the store of leases cannot ${what}: ${because}`, { cause })
  }
}

/** The journal of an embedded store is damaged, or in use by another process. Code `corrupt` or `in-use`. */
export class LeaseStoreError extends TidegateError {}
