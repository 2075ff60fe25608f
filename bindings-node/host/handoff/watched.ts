/** Whether something watches this process by its id, so that a successor would not be known to it. */

import { readFileSync } from 'node:fs'
import process from 'node:process'

/**
 * Programs that end when, or start another one as soon as, the process that they have started ends. systemd is none of
 * them: it is told the new process id.
 */
const WATCHERS = new Set([
  'tini',
  'docker-init',
  'dumb-init',
  'catatonit',
  'runsv',
  's6-supervise',
  'supervisord',
  'supervise',
  'daemontools',
  'circusd',
  'monit',
])

/** Its name, as far as it is known to do so. */
export function watcher(): string | undefined {
  try {
    const name = readFileSync(`/proc/${process.ppid}/comm`, 'utf8').trim()
    return WATCHERS.has(name) ? name : undefined
  } catch {
    return undefined
  }
}
