/** The listening sockets of a process, by name: opened here, or inherited and untouched until it may accept (H2, H3). */

import cluster from 'node:cluster'
import { unlinkSync } from 'node:fs'
import type { AddressInfo, ListenOptions as NodeListenOptions, Server } from 'node:net'
import { claimListener, listenerOf } from '../http/node-internals.js'
import { native } from '../native.js'
import { assertName, closeDescriptor, type InheritedSocket, type PassedSocket } from './inheritance.js'

/**
 * Where a listener listens when nobody passes it a socket: a port, or the path of a unix socket. A socket that is passed
 * is found by the listener's name, and then by its port: one that an old process opened for another port than the one
 * asked for here is left alone, and closed in the end.
 */
export interface ListenOptions {
  /** Default 0: any port that is free; a successor keeps it. */
  port?: number
  /** Default: every address. A socket that is passed keeps the one it has. */
  host?: string
  /** A unix socket instead of a port. The path goes with the last process that listens on it. */
  path?: string
  /**
   * How many connections may wait to be accepted; the system's own limit (`net.core.somaxconn`) holds as well. Default
   * 4096: with Node's 511, a process that stalls for a second under load makes clients wait for their next attempt.
   */
  backlog?: number
  /** Whether an IPv6 address does not take IPv4 as well. Default false. */
  ipv6Only?: boolean
}

const BACKLOG = 4_096

interface Listener {
  readonly name: string
  readonly server: Server
  readonly options: ListenOptions
  foreign: boolean
}

/** Named listeners, and the sockets that were passed for them. */
export class Listeners {
  readonly #listeners: Listener[] = []
  /** Passed to this process and not used so far. */
  readonly #unclaimed: InheritedSocket[]

  constructor(inherited: readonly InheritedSocket[]) {
    this.#unclaimed = [...inherited]
  }

  get count(): number {
    return this.#listeners.length
  }

  /** @throws RangeError for a name that cannot be passed; Error for one that is taken, and in a worker of `node:cluster`. */
  add(name: string, server: Server, options: ListenOptions): void {
    assertName(name)
    if (this.#listeners.some((listener) => listener.name === name)) {
      throw new Error(`there is a listener "${name}" already`)
    }
    if (cluster.isWorker) throw new Error('a worker of node:cluster has no listening socket of its own')
    this.#listeners.push({ name, server, options, foreign: false })
  }

  /** Starts to accept, on all. If one cannot, none does, and this rejects with the reason. */
  async open(): Promise<void> {
    const opened = await Promise.allSettled(this.#listeners.map((listener) => this.#open(listener)))
    const failure = opened.find((result) => result.status === 'rejected')
    if (!failure) return
    for (const { server } of this.#listeners) if (server.listening) server.close()
    throw failure.reason
  }

  /** The sockets that a successor is given. */
  passed(): PassedSocket[] {
    return this.#listeners.flatMap(({ name, server, foreign }) => {
      const fd = listenerOf(server)
      return fd === undefined ? [] : [{ name, fd, port: portOf(server), foreign }]
    })
  }

  /** Closes the sockets that nobody has asked for (H3). */
  closeUnclaimed(): void {
    for (const { fd } of this.#unclaimed.splice(0)) closeDescriptor(fd)
  }

  /** Removes the paths of unix sockets: nobody listens there any more. */
  removePaths(): void {
    for (const { options, foreign } of this.#listeners) {
      if (options.path === undefined || foreign) continue
      try {
        unlinkSync(options.path)
      } catch {
        // Somebody has removed it.
      }
    }
  }

  async #open(listener: Listener): Promise<void> {
    const { server, options } = listener
    const { port = 0, host, path, backlog = BACKLOG, ipv6Only = false } = options
    const inherited = this.#claim(listener)
    if (inherited) {
      listener.foreign = inherited.foreign
      await listening(server, { fd: inherited.fd }, backlog)
      if (!inherited.foreign) claimListener(server)
    } else if (path !== undefined) {
      if (!native.listenUnix) throw new Error('the native part for this platform has no unix sockets')
      await listening(server, { fd: native.listenUnix(path) }, backlog)
    } else {
      await listening(server, { port, ...(host !== undefined && { host }), ipv6Only }, backlog)
    }
  }

  #claim({ name, options: { port = 0 } }: Listener): InheritedSocket | undefined {
    const fits = (socket: InheritedSocket): boolean => {
      const otherPort = !socket.foreign && port !== 0 && socket.port !== undefined && socket.port !== port
      // systemd calls a socket by its unit unless told otherwise.
      return (socket.name === name || (socket.foreign && socket.name === `${name}.socket`)) && !otherPort
    }
    // Without names, one socket for one listener can only be meant for it.
    const only = this.#unclaimed.length === 1 && this.#listeners.length === 1
    const index = this.#unclaimed.findIndex((socket) => fits(socket) || (only && socket.name === ''))
    return index < 0 ? undefined : this.#unclaimed.splice(index, 1)[0]
  }
}

function listening(
  server: Server,
  where: NodeListenOptions & { fd?: number },
  backlog: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = (settle: () => void) => () => {
      server.off('listening', listened)
      server.off('error', failed)
      settle()
    }
    const listened = over(resolve)
    const failed = (error: Error) => over(() => reject(error))()
    server.once('listening', listened)
    server.once('error', failed)
    try {
      // As an option, Node does not heed it together with `fd`.
      server.listen(where, backlog)
    } catch (error) {
      failed(error as Error)
    }
  })
}

/** 0 for a socket without one. */
function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? (address as AddressInfo).port : 0
}
