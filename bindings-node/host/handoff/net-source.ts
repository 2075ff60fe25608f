/** A server of `node:net` or `node:tls` that speaks no HTTP, as something to drain: its connections are waited for. */

import { Server, type Socket } from 'node:net'
import type { DrainSource, Intent } from '../drainable.js'
import { afterEmptyPoll } from '../http/loop.js'
import { ownListener } from '../http/node-internals.js'
import { native } from '../native.js'

/** Counts each connection as one piece of work, from its accept to its close. */
export class NetSource implements DrainSource {
  readonly name = 'connections'
  readonly #server: Server
  readonly #open = new Set<Socket>()
  #accepted = 0
  #changed = () => {}

  constructor(server: Server) {
    this.#server = server
    server.prependListener('connection', (socket: Socket) => {
      this.#accepted += 1
      this.#open.add(socket)
      socket.once('close', () => {
        this.#open.delete(socket)
        this.#changed()
      })
    })
  }

  count(): number {
    return 0
  }

  told(): number {
    return 0
  }

  requests(): number {
    return this.#open.size
  }

  onChange(changed: () => void): void {
    this.#changed = changed
  }

  async refuseNew(intent: Intent): Promise<void> {
    const close = () => {
      if (this.#server.listening) Server.prototype.close.call(this.#server)
    }
    // What is queued is the successor's.
    if (intent === 'handoff') {
      close()
      return
    }
    const listener = ownListener(this.#server)
    if (listener !== undefined) native.refuseHandshakes(listener)
    await afterEmptyPoll(() => this.#accepted, close)
  }

  tell(): void {}

  async clearRows(): Promise<void> {}

  closeAll(): void {}

  abort(): number {
    for (const socket of this.#open) socket.destroy()
    return this.#open.size
  }
}
