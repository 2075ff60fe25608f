/** What a deploy brings: a version, and perhaps something that is wrong with it. Read when a process starts. */
import { readFileSync, writeSync } from 'node:fs'

/** What is wrong with a build. */
export type Broken = 'bad config' | 'hangs'

export interface Build {
  version: number
  broken?: Broken
}

export function readBuild(): Build {
  return JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as Build
}

/** Tells the demo what happens: a line of JSON. */
export function report(line: object): void {
  writeSync(1, `${JSON.stringify({ pid: process.pid, ...line })}\n`)
}

/** What every gateway does before it can serve. */
export async function startUp(build: Build): Promise<void> {
  if (build.broken === 'bad config') throw new Error(`version ${build.version}: the config has no upstream`)
  if (build.broken === 'hangs') await new Promise(() => setInterval(() => {}, 60_000))
}
