/**
 * Records what machines are told, when the environment variable `TIDEGATE_TRACE` names a file: one line of JSON
 * per machine (`name`, `config`, `seed` or `snapshot`, `at`) and per step (`at`, `input` or `tick`, and the
 * `effects` and `deadline`, or the `rejection`, that came of it). A trace replays through the core to the same
 * effects. Inputs and configs hold numbers and names, no secrets.
 */

import { openSync, writeSync } from 'node:fs'

const path = process.env.TIDEGATE_TRACE
const file = path === undefined || path === '' ? undefined : openSync(path, 'a')
let machines = 0

/** Whether steps are recorded. */
export const tracing = file !== undefined

/** A name for the next machine, unique on this host as long as process ids are. */
export function nextTraceId(): string {
  machines += 1
  return `${process.pid}-${machines}`
}

/** Writes a line. In one call each, so that processes can share a file. */
export function trace(line: object): void {
  if (file !== undefined) writeSync(file, `${JSON.stringify(line)}\n`)
}
