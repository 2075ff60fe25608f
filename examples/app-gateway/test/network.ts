/** A network between gateways and their control plane, which can be cut without anybody being told. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export class Network implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #target = 0
  #whole = true

  private constructor() {
    this.#server = createServer((near) => {
      const far = connect(this.#target, '127.0.0.1')
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.on('error', () => other.destroy())
        one.on('close', () => {
          this.#sockets.delete(one)
          other.destroy()
        })
        one.on('data', (bytes) => other.write(bytes))
        if (!this.#whole) one.pause()
      }
    })
  }

  static async between(): Promise<Network> {
    const network = new Network()
    await new Promise<void>((resolve) => network.#server.listen(0, '127.0.0.1', resolve))
    return network
  }

  /** The address by which this one is reached through it. */
  to(address: string): string {
    this.#target = Number(new URL(address).port)
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** From now on nothing gets through, and nobody hears of it: no reset, no refusal. */
  cut(): void {
    this.#whole = false
    for (const socket of this.#sockets) socket.pause()
  }

  heal(): void {
    this.#whole = true
    for (const socket of this.#sockets) socket.resume()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
