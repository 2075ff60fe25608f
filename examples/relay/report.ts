/** One line of JSON on standard output for each thing that happened, with the wall clock that processes share. */
export function report(event: string, details: Record<string, unknown>): void {
  const at = performance.timeOrigin + performance.now()
  process.stdout.write(`${JSON.stringify({ event, at, ...details })}\n`)
}
