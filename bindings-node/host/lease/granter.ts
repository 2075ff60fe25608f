/** What a gateway asks whoever grants leases, and what it is answered. */

import type { Intent, LeaseRefusal, LeaseState } from '../generated.js'

/** A question. */
export type LeaseQuestion =
  /** Is there a lease for this gateway? Whoever asks is this life of it. */
  | {
      readonly type: 'claim'
      readonly gateway: string
      readonly incarnation: number
      /** The epoch of the process that handed over to this one. */
      readonly predecessor?: number | undefined
    }
  /** The handshake succeeded. */
  | {
      readonly type: 'confirm'
      readonly gateway: string
      readonly epoch: number
      readonly incarnation: number
    }
  /** It lives. */
  | { readonly type: 'renew'; readonly gateway: string; readonly epoch: number }
  /** It stops. */
  | { readonly type: 'stop'; readonly gateway: string; readonly epoch: number; readonly intent: Intent }

/** An answer. Only these are definite; an exception of any kind means that nobody knows. */
export type LeaseAnswer =
  | {
      /** To a claim. */
      readonly type: 'reclaimed'
      readonly epoch: number
      /** How long it is granted for. Milliseconds. */
      readonly term: number
      readonly organization: string
      readonly hostname: string
    }
  | {
      /** To a confirmation. */
      readonly type: 'confirmed'
      readonly epoch: number
      readonly term: number
      readonly organization: string
      readonly hostname: string
    }
  /** To a renew. */
  | { readonly type: 'renewed'; readonly epoch: number; readonly term: number }
  /** To a stop. */
  | { readonly type: 'accepted'; readonly epoch: number; readonly state: LeaseState }
  /** To any of them. */
  | { readonly type: 'refused'; readonly epoch: number; readonly refusal: LeaseRefusal }

/**
 * Whoever grants leases, as a gateway reaches it: a {@link LeasePool}, or a call to a control plane that has one.
 *
 * A control plane's error of any kind must be thrown, never be read as "no lease".
 */
export interface LeaseGranter {
  /** The signal fires when the question has had its time. */
  ask(question: LeaseQuestion, options: { signal: AbortSignal }): Promise<LeaseAnswer>
}
