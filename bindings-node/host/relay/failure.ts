import { TidegateError } from '../errors.js'

/** Why a request through a tunnel has no answer of its host. */
export type RequestFailureCode =
  /** No relay has a tunnel to this host, and none came in time. Nothing reached the host. */
  | 'no-tunnel'
  /** This relay was asked by another one for a tunnel that it does not have (any more). */
  | 'not-here'
  /** The tunnel carries as much as it may. Nothing reached the host. */
  | 'tunnel-full'
  /** The tunnel was lost before the host answered; it may have acted on the request. */
  | 'tunnel-lost'
  /** The host did not answer in time; it may have acted on the request. */
  | 'tunnel-timeout'
  /** The host's answer was not one. */
  | 'bad-answer'
  /** The request or its answer is larger than what this relay carries. */
  | 'too-large'
  /** The directory cannot be reached, and there is no tunnel here. Nothing reached the host. */
  | 'directory-unavailable'
  /** The relay stops. */
  | 'stopping'

const STATUS: Record<RequestFailureCode, number> = {
  'no-tunnel': 503,
  'not-here': 421,
  'tunnel-full': 503,
  'tunnel-lost': 502,
  'tunnel-timeout': 504,
  'bad-answer': 502,
  'too-large': 413,
  'directory-unavailable': 503,
  stopping: 503,
}

/** A request through a tunnel has no answer of its host. The code says why. */
export class RequestFailure extends TidegateError {
  declare readonly code: RequestFailureCode
  /** The HTTP status that a client is answered with. */
  readonly status: number

  constructor(code: RequestFailureCode, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.status = STATUS[code]
  }
}
