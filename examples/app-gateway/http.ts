/** Small JSON calls and answers, as both programs make them. */
import type { IncomingMessage, ServerResponse } from 'node:http'

/** More than any call has. */
const LONGEST_BODY = 100_000

/** The fields of a body; none for what is no JSON object, or too long. */
export async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = ''
  for await (const part of request.setEncoding('utf8')) {
    // It is read to its end, or whoever sends it does not hear the answer.
    if (text.length <= LONGEST_BODY) text += part
  }
  if (text.length > LONGEST_BODY) return {}
  try {
    const body = JSON.parse(text || '{}')
    return typeof body === 'object' && body !== null ? body : {}
  } catch {
    return {}
  }
}

export function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
}

/** The bearer token of a request. */
export function tokenOf(request: IncomingMessage): string {
  return /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? ''
}

export async function post(
  url: string,
  token: string,
  body: object,
  signal?: AbortSignal,
): Promise<Response> {
  return await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
    signal: signal ?? AbortSignal.timeout(15_000),
  })
}
