import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Connection } from './connection.js'

type HeadersArgument = OutgoingHttpHeaders | OutgoingHttpHeader[]

/**
 * Makes a response say `Connection: close`, unless more has been received behind it when its head is written.
 *
 * The decision waits for `writeHead`, through which explicit and implicit heads both pass, because a close
 * may only be promised on the last of several pipelined responses: Node drops whatever is queued behind it.
 */
export function promiseClose(connection: Connection, response: ServerResponse): void {
  const writeHead = response.writeHead as (...args: unknown[]) => ServerResponse
  response.writeHead = function writeLastHead(this: ServerResponse, ...args: unknown[]): ServerResponse {
    const informational = Number(args[0]) < 200
    if (this.headersSent || informational || !connection.isLast(this)) return writeHead.apply(this, args)
    const result = writeHead.apply(this, withClose(this, args))
    connection.closePromised = true
    if (!this.req.complete) lingerUntilReceived(connection.socket, this)
    return result
  } as ServerResponse['writeHead']
}

/**
 * Puts the header where the application put its own. Headers given to `writeHead` stay there: setting one
 * on the response as well would make Node merge the two, which loses repeated fields of a flat list.
 */
function withClose(response: ServerResponse, args: unknown[]): unknown[] {
  const last = args.at(-1)
  if (typeof last !== 'object' || last === null) {
    response.setHeader('Connection', 'close')
    return args
  }
  return [...args.slice(0, -1), closing(last as HeadersArgument)]
}

function closing(headers: HeadersArgument): HeadersArgument {
  if (!Array.isArray(headers)) {
    const others = Object.entries(headers).filter(([name]) => !isConnection(name))
    return { ...Object.fromEntries(others), Connection: 'close' }
  }
  // Node takes lists of pairs as well as flat ones.
  if (Array.isArray(headers[0])) {
    const pairs = headers as unknown as OutgoingHttpHeader[][]
    return [...pairs.filter(([name]) => !isConnection(name)), ['Connection', 'close']] as never
  }
  const kept = headers.filter((_, index) => !isConnection(headers[index - (index % 2)]))
  return [...kept, 'Connection', 'close']
}

function isConnection(name: OutgoingHttpHeader | undefined): boolean {
  return typeof name === 'string' && name.toLowerCase() === 'connection'
}

/**
 * The response may be done before the request's body is. Closing then, with bytes unread, resets the
 * connection and may take the response with it; so only our side ends, and the rest is read and dropped.
 */
function lingerUntilReceived(socket: Socket, response: ServerResponse): void {
  const request = response.req
  const { destroySoon } = socket
  socket.destroySoon = function destroyWhenReceived(this: Socket): void {
    if (request.complete) {
      destroySoon.call(this)
      return
    }
    this.end()
    request.resume()
    // `close` also comes for a request that was cut off.
    request.once('close', () => destroySoon.call(this))
  }
}
