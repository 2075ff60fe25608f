/** Durations as people write them. */

/** Milliseconds as a number, or a text: `'500ms'`, `'20s'`, `'1.5m'`, `'2h'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h'}`

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/**
 * Whole milliseconds.
 *
 * @throws RangeError when it is no duration, or negative; `field` names it.
 */
export function milliseconds(duration: Duration, field = ''): number {
  const [, number, unit = 'ms'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(`${duration}`) ?? []
  const value = Math.round(Number(number) * UNITS[unit as keyof typeof UNITS])
  if (Number.isSafeInteger(value) && (typeof duration === 'number' || /[a-z]$/.test(duration))) return value
  throw new RangeError(
    `${field} is ${JSON.stringify(duration)}, must be milliseconds or such as "20s"`.trim(),
  )
}
