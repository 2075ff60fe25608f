/**
 * A file by which a deploy script announces what the next stop is for. It counts once, for one gateway, and only
 * while it is fresh: a marker that was left behind must not turn a later decommission into a restart.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Intent } from 'tidegate'

/** How old a marker may be. Milliseconds. */
const FRESH = 60_000

interface Marker {
  gateway: string
  intent: Intent
  /** Milliseconds of the wall clock. */
  at: number
}

export function writeMarker(path: string, gateway: string, intent: Intent): void {
  const marker: Marker = { gateway, intent, at: Date.now() }
  writeFileSync(`${path}.new`, JSON.stringify(marker))
  renameSync(`${path}.new`, path)
}

/** What the marker says, if there is one for this gateway; it is gone afterwards, whatever it says. */
export function takeMarker(path: string, gateway: string): Intent | undefined {
  const taken = `${path}.${process.pid}`
  try {
    renameSync(path, taken)
    const marker = JSON.parse(readFileSync(taken, 'utf8')) as Marker
    const age = Date.now() - marker.at
    return marker.gateway === gateway && age >= 0 && age < FRESH ? marker.intent : undefined
  } catch {
    return undefined
  } finally {
    rmSync(taken, { force: true })
  }
}
