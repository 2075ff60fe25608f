/**
 * `tidegate/directory-server`: a directory that one process serves to a few others on the same machine, for
 * demos, tests and small set-ups without Redis.
 *
 * {@link DirectoryServer} serves any {@link Directory} (in memory by default) over TCP as one JSON object a
 * line; {@link RemoteDirectory} is the directory on the other side. There is no login: bind it to a loopback
 * address, which is the default. Rows live as long as the serving process; when it restarts without them,
 * live relays bring theirs back with their next renew.
 */

import { setMaxListeners } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import {
  checkCarried,
  checkHeld,
  checkHost,
  checkOwner,
  type Directory,
  DirectoryUnavailable,
  type HeldCommand,
  MemoryDirectory,
  type Owned,
  type Owner,
  type Refused,
  type RegisterCommand,
  type Registered,
  type Removed,
  type Renewed,
  type Vacant,
  type WaitOptions,
} from './directory.js'

/** What may be asked over the wire, with its only argument. */
interface Calls {
  register: [RegisterCommand, Registered | Refused]
  renew: [HeldCommand, Renewed | Refused]
  unregister: [HeldCommand, Removed | Refused]
  look: [{ host: string }, Owned | Vacant]
  clearOwn: [{ owner: Owner }, number]
  clearEarlier: [{ owner: Owner }, number]
  waitFor: [{ host: string; after?: number; within: number }, Owned | undefined]
}
type Call = keyof Calls

interface Request {
  id: number
  call: Call
  argument: never
}

interface Reply {
  id: number
  answer?: unknown
  error?: string
}

/** A line longer than this ends its connection. */
const LONGEST_LINE = 64 * 1024

const calls: {
  [C in Call]: (to: Directory, argument: Calls[C][0], signal: AbortSignal) => Promise<Calls[C][1]>
} = {
  register: (to, command) => to.register(command),
  renew: (to, command) => to.renew(command),
  unregister: (to, command) => to.unregister(command),
  look: (to, { host }) => to.look(host),
  clearOwn: (to, { owner }) => to.clearOwn(owner),
  clearEarlier: (to, { owner }) => to.clearEarlier(owner),
  waitFor: (to, { host, ...options }, signal) => to.waitFor(host, { ...options, signal }),
}

/** Cuts what a socket reads into lines; ends the socket when one is too long. */
function eachLine(socket: Socket, take: (line: string) => void): void {
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LONGEST_LINE) socket.destroy()
    for (const line of lines) {
      if (socket.destroyed) return
      take(line)
    }
  })
}

/** How a directory is served. */
export interface DirectoryServerOptions {
  /** What is served; default a {@link MemoryDirectory}. */
  directory?: Directory
}

/** Serves a directory to other processes. */
export class DirectoryServer implements AsyncDisposable {
  readonly #directory: Directory
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(options: DirectoryServerOptions = {}) {
    this.#directory = options.directory ?? new MemoryDirectory()
    this.#server = createServer((socket) => this.#serve(socket))
  }

  /**
   * Listens.
   *
   * @param port 0, the default, takes a free one.
   * @param address Loopback by default: there is no login.
   * @returns The port.
   */
  async listen(port = 0, address = '127.0.0.1'): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, address, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    const bound = this.#server.address()
    return typeof bound === 'object' && bound ? bound.port : port
  }

  /** Stops listening and ends every connection. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #serve(socket: Socket): void {
    const gone = new AbortController()
    setMaxListeners(0, gone.signal) // one for each row that is waited for
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#sockets.delete(socket)
      gone.abort()
    })
    eachLine(socket, (line) => {
      let request: Request
      try {
        request = JSON.parse(line) as Request
        if (!Number.isSafeInteger(request.id) || !Object.hasOwn(calls, request.call))
          throw new Error('no call')
      } catch {
        socket.destroy()
        return
      }
      this.#call(request, gone.signal).then((reply) => {
        if (!socket.destroyed) socket.write(`${JSON.stringify(reply)}\n`)
      })
    })
  }

  async #call({ id, call, argument }: Request, signal: AbortSignal): Promise<Reply> {
    try {
      return { id, answer: await calls[call](this.#directory, argument, signal) }
    } catch (error) {
      return { id, error: error instanceof Error ? error.message : String(error) }
    }
  }
}

/** How a directory of another process is reached. */
export interface RemoteDirectoryOptions {
  port: number
  /** Default: loopback. */
  address?: string
  /** How long one command may take, connecting included, in milliseconds; default 2,000. */
  commandTimeout?: number
}

interface Outstanding {
  operation: string
  resolve(answer: unknown): void
  reject(error: Error): void
}

/** The directory that a {@link DirectoryServer} serves. Connects when it is used, and again after a loss. */
export class RemoteDirectory implements Directory, Disposable {
  readonly #options: RemoteDirectoryOptions
  readonly #commandTimeout: number
  readonly #outstanding = new Map<number, Outstanding>()
  #socket: Socket | undefined
  #issued = 0
  #closed = false

  constructor(options: RemoteDirectoryOptions) {
    this.#options = options
    this.#commandTimeout = options.commandTimeout ?? 2_000
  }

  async register(command: RegisterCommand): Promise<Registered | Refused> {
    checkHost(command.host)
    checkOwner(command.owner)
    checkCarried(command.epoch ?? 0)
    return await this.#ask('register a host', 'register', command)
  }

  async renew(command: HeldCommand): Promise<Renewed | Refused> {
    checkCommand(command)
    return await this.#ask('renew a row', 'renew', command)
  }

  async unregister(command: HeldCommand): Promise<Removed | Refused> {
    checkCommand(command)
    return await this.#ask('remove a row', 'unregister', command)
  }

  async look(host: string): Promise<Owned | Vacant> {
    checkHost(host)
    return await this.#ask('look hosts up', 'look', { host })
  }

  async clearOwn(owner: Owner): Promise<number> {
    checkOwner(owner)
    return await this.#ask('clear the rows of a machine', 'clearOwn', { owner })
  }

  async clearEarlier(owner: Owner): Promise<number> {
    checkOwner(owner)
    return await this.#ask('clear the rows of a machine', 'clearEarlier', { owner })
  }

  async waitFor(host: string, options: WaitOptions): Promise<Owned | undefined> {
    checkHost(host)
    const { signal, ...bounds } = options
    const ends = performance.now() + options.within
    // The connection may be lost while it waits: look again until the time is over.
    for (;;) {
      const within = Math.max(0, Math.ceil(ends - performance.now()))
      if (signal?.aborted) return undefined
      try {
        return await this.#ask('look hosts up', 'waitFor', { host, ...bounds, within }, within, signal)
      } catch (error) {
        if (!(error instanceof DirectoryUnavailable) || performance.now() >= ends) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#closed = true
    this.#socket?.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  async #ask<C extends Call>(
    operation: string,
    call: C,
    argument: Calls[C][0],
    patience = 0,
    signal?: AbortSignal,
  ): Promise<Calls[C][1]> {
    if (this.#closed) throw new DirectoryUnavailable(operation, { because: 'it was closed' })
    const id = this.#issued++
    return await new Promise<Calls[C][1]>((resolve, reject) => {
      const limit = this.#commandTimeout + patience
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', give)
        this.#outstanding.delete(id)
        // An idle connection does not keep the process.
        if (this.#outstanding.size === 0) this.#socket?.unref()
      }
      const give = () => {
        end()
        resolve(undefined as Calls[C][1])
      }
      const timer = setTimeout(() => {
        end()
        reject(new DirectoryUnavailable(operation, { because: `no answer within ${limit} ms` }))
      }, limit)
      signal?.addEventListener('abort', give)
      this.#outstanding.set(id, {
        operation,
        resolve: (answer) => {
          end()
          resolve(answer as Calls[C][1])
        },
        reject: (error) => {
          end()
          reject(error)
        },
      })
      this.#connected()
        .ref()
        .write(`${JSON.stringify({ id, call, argument })}\n`)
    })
  }

  #connected(): Socket {
    if (this.#socket) return this.#socket
    const socket = connect({ port: this.#options.port, host: this.#options.address ?? '127.0.0.1' })
    this.#socket = socket
    let failure: Error | undefined
    socket.setNoDelay(true)
    socket.on('error', (error) => {
      failure = error
    })
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined
      // All of them were sent on this socket: a new one is made only when this one is gone.
      for (const { operation, reject } of [...this.#outstanding.values()]) {
        reject(
          new DirectoryUnavailable(
            operation,
            failure ? { cause: failure } : { because: 'the connection was lost' },
          ),
        )
      }
    })
    eachLine(socket, (line) => {
      const reply = JSON.parse(line) as Reply
      const outstanding = this.#outstanding.get(reply.id)
      if (reply.error === undefined) outstanding?.resolve(reply.answer)
      else outstanding?.reject(new DirectoryUnavailable(outstanding.operation, { because: reply.error }))
    })
    return socket
  }
}

function checkCommand(command: HeldCommand): void {
  checkHost(command.host)
  checkOwner(command.owner)
  checkHeld(command.epoch)
}
