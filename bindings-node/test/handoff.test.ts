import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { bundle, endAll, Generations, openFiles } from './handoff/generations.js'
import { Load } from './handoff/load.js'
import type { Plan } from './handoff/program.js'
import { until } from './until.js'

/** How often each fault is tried; the benchmark does 100. */
const RUNS = Number(process.env.TIDEGATE_HANDOFF_RUNS ?? 10)

let program = ''
before(async () => {
  program = await bundle('program')
})
after(endAll)

/** A gateway that serves, and a load on it. */
async function gateway(plan: Plan = {}) {
  const generations = new Generations(program, plan)
  const { ports } = await generations.serving()
  const load = new Load(ports?.web as number)
  return { generations, load, port: ports?.web as number }
}

describe('handing over', { concurrency: 3 }, () => {
  it(`H1, H2: ${RUNS} upgrades under load cost no request`, async () => {
    const { generations, load } = await gateway()
    const baseline = { first: 0, files: [] as string[] }
    for (let run = 0; run < RUNS; run += 1) {
      const { pid } = await generations.replaced()
      await generations.alone()
      if (run === 0) Object.assign(baseline, { first: pid, files: openFiles(pid).sort() })
      else await until(() => openFiles(pid).sort().join() === baseline.files.join(), 'no descriptor to be left')
      console.log(generations.errors.slice(-300), openFiles(pid).length)
    }
    const { answered, failures } = await load.stop()
    assert.deepEqual(failures, [])
    assert.ok(answered > RUNS * 10)
    generations.end()
  })
})
