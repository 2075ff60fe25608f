/** A DNS table and a reverse proxy in this process: nothing has to be installed. */

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type Dns, isMeant, markOf, type ReverseProxy, type Route, type Target } from './route.ts'

/** Names in a table. */
export class DnsTable implements Dns {
  readonly names = new Map<string, string>()

  async put(route: Route): Promise<void> {
    this.names.set(route.hostname, markOf(route))
  }

  async remove(target: Target): Promise<void> {
    if (await this.has(target)) this.names.delete(target.hostname)
  }

  async has(target: Target): Promise<boolean> {
    return isMeant(this.names.get(target.hostname), target)
  }
}

/** A reverse proxy by name. As a real one it has configs, and what is loaded of them a moment after a reload. */
export class EmbeddedProxy implements ReverseProxy {
  readonly configs = new Map<string, Route>()
  loaded = new Map<string, Route>()
  readonly server: Server = createServer((request, response) => this.#forward(request, response))

  async listen(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(port, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  async write(route: Route): Promise<void> {
    this.configs.set(markOf(route), route)
  }

  async remove(target: Target): Promise<void> {
    for (const mark of this.configs.keys()) if (isMeant(mark, target)) this.configs.delete(mark)
  }

  async has(target: Target): Promise<boolean> {
    return [...this.configs.keys()].some((mark) => isMeant(mark, target))
  }

  async reload(): Promise<void> {
    void delay(5).then(() => {
      this.loaded = new Map([...this.configs.values()].map((route) => [route.hostname, route]))
    })
  }

  async leads(target: Target): Promise<boolean> {
    const loaded = this.loaded.get(target.hostname)
    return loaded !== undefined && isMeant(markOf(loaded), target)
  }

  #forward(incoming: IncomingMessage, response: ServerResponse): void {
    const route = this.loaded.get((incoming.headers.host ?? '').replace(/:\d+$/, ''))
    if (route === undefined) {
      response.writeHead(404).end('no such organization\n')
      return
    }
    const { method, url, headers } = incoming
    const forwarded = request(`${route.address}${url}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    forwarded.on('error', () => {
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end('the gateway does not answer\n')
    })
    incoming.pipe(forwarded)
  }
}
