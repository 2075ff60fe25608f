/** How long something may take, for functions of users that may want to stop by themselves. */

/**
 * What is over after so many milliseconds. Its signal is made when it is asked for, as most functions never do: with
 * a thousand handshakes at once, signals were a tenth of the work.
 */
export function timeLimit(limit: number): { readonly signal: AbortSignal } {
  const end = performance.now() + limit
  let signal: AbortSignal | undefined
  return {
    get signal() {
      signal ??= AbortSignal.timeout(Math.max(0, Math.ceil(end - performance.now())))
      return signal
    },
  }
}
