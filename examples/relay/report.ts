let lines: string[] = []

/**
 * One line of JSON on standard output for each thing that happened, with the wall clock that processes share.
 * What happens in one turn of the event loop is written at once: a thousand small writes would be slower than what
 * they tell of.
 */
export function report(event: string, details: Record<string, unknown>): void {
  const at = performance.timeOrigin + performance.now()
  if (lines.length === 0) setImmediate(flush)
  lines.push(JSON.stringify({ event, at, ...details }))
}

function flush(): void {
  const text = `${lines.join('\n')}\n`
  lines = []
  process.stdout.write(text)
}
