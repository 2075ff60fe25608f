/**
 * Where a saga's records are made durable, and what a journal must keep so that sagas recover from it.
 *
 * A journal stores frames: bytes that the core makes and reads, opaque here.
 */

import { TidegateError } from '../errors.js'
import type { JournalFault, SagaRecord } from '../generated.js'
import { native } from '../native.js'

/** Where a saga stands by its last record: to be recovered, waiting for an operator, or neither. */
export type SagaStanding = 'unfinished' | 'stuck' | 'over'

/** A record to be made durable. */
export interface JournalAppend {
  /** Its place in the journal of its saga, from 1. */
  readonly sequence: number
  /** The record. */
  readonly frame: Uint8Array
  /** Where the saga stands after it. */
  readonly standing: SagaStanding
}

/** What one executor appends to the journal of one saga. */
export interface JournalWriter {
  /**
   * Resolves when the record is durable. The same record again is no error; another one in its place is refused, and
   * so is any record once somebody else has taken the saga over.
   *
   * @throws {@link JournalFenced} for those; anything else counts as a failure, and the record may be durable or not.
   */
  append(record: JournalAppend): Promise<void>
  /** Gives back what it holds. The saga stays its executor's. */
  close(): Promise<void>
}

/** A saga that was taken over. */
export interface TakenOver {
  readonly writer: JournalWriter
  /** Its records: frames, one after the other. */
  readonly bytes: Uint8Array
}

/** Keeps the journals of sagas. Every call must be safe from several processes at once, where they can share it. */
export interface SagaJournal {
  /**
   * Begins the journal of a saga with its first record. None when it has one already that begins otherwise; the same
   * first record again finds the journal that it began.
   */
  begin(saga: string, first: JournalAppend): Promise<JournalWriter | undefined>
  /** Fences whoever has the saga, and reads its journal. None when it has none. */
  takeOver(saga: string): Promise<TakenOver | undefined>
  /** Reads the journal of a saga, and changes nothing. None when it has none. */
  read(saga: string): Promise<Uint8Array | undefined>
  /**
   * The sagas that stand so, those first that stood still for longest; only those whose last record is at least
   * `idle` milliseconds old.
   */
  list(standing: 'unfinished' | 'stuck', idle?: number): Promise<string[]>
}

/** Another executor has taken the saga over (G9). Code `journal-fenced`. */
export class JournalFenced extends TidegateError {
  constructor(saga: string) {
    super('journal-fenced', `another executor has taken over the saga ${saga}`)
  }
}

/** A record of a journal, as it was read. */
export interface ReadRecord {
  readonly sequence: number
  readonly kind: SagaRecord
  readonly step: number | null
  readonly attempt: number
  readonly value: number
  readonly payload: Uint8Array
}

/** A journal, as it was read. */
export interface ReadJournal {
  readonly records: readonly ReadRecord[]
  /** How many bytes the whole records have. */
  readonly whole: number
  /** Whether a torn record follows them. */
  readonly torn: boolean
}

/** Why a journal cannot be read; `corrupt` and `unknown-version` are of its bytes, the others of what they say. */
export type SagaJournalFault = JournalFault | 'corrupt' | 'unknown-version' | 'other-saga'

/** The journal is none of this saga, or damaged; it is left as it is, for an operator (G8). Code `journal-refused`. */
export class JournalRefused extends TidegateError {
  readonly saga: string
  readonly fault: SagaJournalFault
  /** The byte or the record at fault. */
  readonly at: number

  constructor(saga: string, fault: SagaJournalFault, at: number, message: string) {
    super('journal-refused', `the journal of the saga ${saga} is refused: ${message}`)
    this.saga = saga
    this.fault = fault
    this.at = at
  }
}

/** One record as a frame. */
export function frameOf(record: Omit<ReadRecord, 'payload'>, payload: Uint8Array): Uint8Array {
  const { sequence, kind, step, attempt, value } = record
  return native.journalFrame(JSON.stringify({ sequence, kind, step, attempt, value }), payload)
}

/**
 * Reads frames.
 *
 * @throws {@link JournalRefused} when they are damaged before their end, or of a later version.
 */
export function readFrames(saga: string, bytes: Uint8Array): ReadJournal {
  const read = JSON.parse(native.journalRecords(bytes))
  if (read.fault !== undefined) throw new JournalRefused(saga, read.fault, read.at, read.message)
  const records = read.records.map(({ from, to, ...record }: ReadRecord & { from: number; to: number }) => ({
    ...record,
    payload: bytes.subarray(from, to),
  }))
  return { records, whole: read.whole, torn: read.torn }
}

/** Where a saga stands after a record of this kind. */
export function standingAfter(kind: SagaRecord): SagaStanding {
  if (kind === 'stuck') return 'stuck'
  return kind === 'committed' || kind === 'rolled-back' ? 'over' : 'unfinished'
}
