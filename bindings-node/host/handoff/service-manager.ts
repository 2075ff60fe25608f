/** Words to the service manager, by systemd's protocol (`sd_notify(3)`); nothing where there is none (H8). */

import process from 'node:process'
import { native } from '../native.js'

/** The manager that has started this process, or one before it. */
export class ServiceManager {
  readonly #socket: string | undefined
  readonly #failed: (error: unknown) => void

  constructor(failed: (error: unknown) => void, socket = process.env.NOTIFY_SOCKET) {
    this.#socket = socket || undefined
    this.#failed = failed
  }

  /** Whether there is one that listens. */
  get present(): boolean {
    return this.#socket !== undefined
  }

  ready(): void {
    this.#notify('READY=1')
  }

  /** An upgrade begins. The time tells this reload from a later one. */
  reloading(): void {
    this.#notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`)
  }

  stopping(): void {
    this.#notify('STOPPING=1')
  }

  /** Another process is the main one from now on, and ready. */
  mainPid(pid: number): void {
    this.#notify(`MAINPID=${pid}\nREADY=1`)
  }

  #notify(message: string): void {
    if (this.#socket === undefined) return
    try {
      if (!native.notifyService) throw new Error('the native part for this platform cannot notify')
      native.notifyService(this.#socket, message)
    } catch (error) {
      this.#failed(error)
    }
  }
}
