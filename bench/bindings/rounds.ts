/** Measures contenders in turns, so that what slows the machine down slows all of them down. */

/** Something that is measured. */
export interface Contender {
  /** What it does: rows of different work are not compared. */
  readonly work: string
  readonly name: string
  /** Makes `count` calls. */
  run(count: number): void
}

/** What was measured, one row a contender. */
export interface Row {
  readonly work: string
  readonly name: string
  /** Nanoseconds a call, one sample a round. */
  readonly samples: readonly number[]
}

function time(contender: Contender, count: number): number {
  const start = process.hrtime.bigint()
  contender.run(count)
  return Number(process.hrtime.bigint() - start)
}

/** Runs every contender once a round, in an order that rotates. */
export function measure(contenders: readonly Contender[], rounds: number, milliseconds: number): Row[] {
  const counts = contenders.map((contender) => {
    // Warm, then as many calls as fill the time of a sample.
    let count = 1000
    let took = time(contender, count)
    while (took < 20e6) {
      count *= 2
      took = time(contender, count)
    }
    return Math.max(1, Math.round((count * milliseconds * 1e6) / took))
  })
  const samples: number[][] = contenders.map(() => [])
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < contenders.length; turn += 1) {
      const at = (round + turn) % contenders.length
      const count = counts[at] as number
      samples[at]?.push(time(contenders[at] as Contender, count) / count)
    }
  }
  return contenders.map(({ work, name }, at) => ({ work, name, samples: samples[at] ?? [] }))
}

/** The middle one. */
export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
