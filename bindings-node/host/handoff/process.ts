/** The process of a successor: how it is started, watched and ended. */

import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import process from 'node:process'
import { bequest, type PassedSocket } from './inheritance.js'

/** What a successor is started as. */
export interface Program {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  /** Added to the environment of this process. */
  readonly env: NodeJS.ProcessEnv
}

/** This very program, as it was started: later changes of the working directory or of `process.argv` do not count (H5). */
export const thisProgram: Program = {
  command: process.execPath,
  args: [...process.execArgv, ...process.argv.slice(1)],
  cwd: process.cwd(),
  env: {},
}

/** How a process ended. */
export interface ExitStatus {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** What is told about a successor's process. */
export interface ProcessEvents {
  data(bytes: Buffer): void
  /** The channel has closed. */
  closed(): void
  /** It has ended and was reaped. */
  exited(status: ExitStatus): void
}

/** A successor's process. It leads a group of its own, so that all of it can be ended. */
export class SuccessorProcess {
  readonly #child: ChildProcess
  readonly #channel: Socket
  /** Resolves once it runs; rejects when it cannot be started. */
  readonly running: Promise<void>
  status: ExitStatus | undefined
  channelClosed = false
  /** Whether its group was ended from here. */
  killed = false

  /** @throws Error when it cannot be started, some of the reasons; {@link running} tells the others. */
  constructor(
    program: Program,
    sockets: readonly PassedSocket[],
    older: readonly number[],
    events: ProcessEvents,
  ) {
    const { environment, channel } = bequest(sockets, process.pid, older.length)
    this.#child = spawn(program.command, program.args, {
      cwd: program.cwd,
      env: { ...process.env, ...program.env, ...environment },
      stdio: ['inherit', 'inherit', 'inherit', ...sockets.map(({ fd }) => fd), 'pipe', ...older],
      detached: true,
    })
    this.running = new Promise((resolve, reject) => {
      this.#child.once('spawn', resolve)
      this.#child.once('error', reject)
    })
    this.#child.once('exit', (code, signal) => {
      this.status = { code, signal }
      events.exited(this.status)
    })
    this.#channel = this.#child.stdio[channel] as Socket
    this.#channel.on('data', events.data)
    this.#channel.on('error', () => {})
    this.#channel.once('close', () => {
      this.channelClosed = true
      events.closed()
    })
  }

  /** -1 when it was never started. */
  get pid(): number {
    return this.#child.pid ?? -1
  }

  send(...parts: (string | Uint8Array)[]): void {
    for (const part of parts) if (part.length > 0) this.#channel.write(part)
  }

  /** Ends it and all of its group, at once. Nothing is signalled that was reaped. */
  kill(): void {
    if (this.status || this.#child.pid === undefined) return
    this.killed = true
    try {
      process.kill(-this.#child.pid, 'SIGKILL')
    } catch {
      this.#child.kill('SIGKILL')
    }
  }

  /** Closes the channel. */
  hangUp(): void {
    this.#channel.destroy()
  }

  /** It takes over: this process may end before it. */
  letGo(): void {
    this.#child.unref()
    this.#channel.unref()
  }
}

/**
 * Ends the processes that a successor has left behind when it ended by itself: those of its session, which it began.
 * Where there is no `/proc`, none are found. Some 20 µs for each process of the machine, and only after a crash: one at a
 * time over the event loop, they would take longer than anybody waits for.
 */
export function endSession(session: number): void {
  for (const entry of entriesOf('/proc')) {
    if (!/^\d+$/.test(entry) || sessionOf(entry) !== session) continue
    try {
      process.kill(Number(entry), 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function sessionOf(process: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${process}/stat`, 'utf8')
    // The name before it is in parentheses, and may have any character in it. Then: state, parent, group, session.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3])
  } catch {
    return undefined
  }
}
