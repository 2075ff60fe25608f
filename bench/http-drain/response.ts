/** One answer, as far as the benchmark cares. */
export interface Answer {
  status: number
  /** The server said that it will close the connection behind this answer. */
  close: boolean
}

const HEAD_END = Buffer.from('\r\n\r\n')
const CHUNKS_END = Buffer.from('0\r\n\r\n')

/** Reads answers from the bytes of one connection, and knows whether it stopped within one. */
export class ResponseReader {
  #rest: Buffer = Buffer.alloc(0)

  /** The answers that are now complete. */
  read(chunk: Buffer): Answer[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const answers: Answer[] = []
    for (let answer = this.#next(); answer; answer = this.#next()) answers.push(answer)
    return answers
  }

  #next(): Answer | undefined {
    const headEnd = this.#rest.indexOf(HEAD_END)
    if (headEnd < 0) return undefined
    const head = this.#rest.toString('latin1', 0, headEnd)
    const body = headEnd + HEAD_END.length
    const end = this.#bodyEnd(head, body)
    if (end === undefined || end > this.#rest.length) return undefined
    this.#rest = this.#rest.subarray(end)
    return { status: Number(head.slice(9, 12)), close: /^connection:\s*close\s*$/im.test(head) }
  }

  #bodyEnd(head: string, body: number): number | undefined {
    const length = /^content-length:\s*(\d+)/im.exec(head)?.[1]
    if (length !== undefined) return body + Number(length)
    if (!/^transfer-encoding:\s*chunked/im.test(head)) return body
    // The bodies of this benchmark hold no such sequence themselves.
    const at = this.#rest.indexOf(CHUNKS_END, body)
    return at < 0 ? undefined : at + CHUNKS_END.length
  }
}
