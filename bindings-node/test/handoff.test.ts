import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { bundle, endAll, Generations, openFiles } from './handoff/generations.js'
import { Load } from './handoff/load.js'
import type { Fault, Plan } from './handoff/program.js'
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

/** Ends the load and the gateway: no request may have failed. */
async function finish(generations: Generations, load: Load): Promise<void> {
  const { answered, failures } = await load.stop()
  assert.deepEqual(failures, [])
  assert.ok(answered > 0)
  generations.end()
}

/** What the generations have open, once it is as it was: only connections of clients come and go. */
class OpenFiles {
  #before: string | undefined

  async same(pid: number): Promise<void> {
    const now = () => openFiles(pid).sort().join('\n')
    if (this.#before === undefined) {
      // Connections come and go while it is looked: the fewest of several looks are what stays.
      const looks: string[] = []
      for (let look = 0; look < 20; look += 1) {
        looks.push(now())
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      this.#before = looks.reduce((least, look) => (look.length < least.length ? look : least))
    }
    await until(() => now() === this.#before, 'no descriptor to be left behind').catch((error: Error) =>
      assert.fail(`${error.message}: ${now()} instead of ${this.#before}`),
    )
  }
}

describe('a gateway that is upgraded under load', { concurrency: 3 }, () => {
  it(`H1, H2: ${RUNS} upgrades cost no request, and leave nothing behind`, async () => {
    const { generations, load } = await gateway()
    await generations.replaced()
    const files = new OpenFiles()
    for (let run = 0; run < RUNS; run += 1) {
      const { pid } = await generations.replaced()
      await generations.alone()
      await files.same(pid)
    }
    await finish(generations, load)
  })

  // Long enough for a good successor on a machine that does much else.
  const SHORT = { readyLimit: 3_000, acceptLimit: 2_000 }
  const FAULTS: Record<Fault | 'missing', { code: string; says: RegExp; plan?: Plan }> = {
    missing: { code: 'spawn-failed', says: /could not be started.*no-such-program.*ENOENT/ },
    crash: { code: 'exited', says: /with code 1/ },
    stray: { code: 'exited', says: /with code 1/ },
    'ready-exit': { code: 'exited', says: /with code 1/ },
    'ack-exit': { code: 'exited', says: /with code 1/ },
    hang: { code: 'ready-limit', says: /not ready in time/, plan: { handoff: SHORT } },
    stop: { code: 'ready-limit', says: /not ready in time/, plan: { handoff: SHORT } },
    'stop-after-ack': { code: 'accept-limit', says: /did not accept in time/, plan: { handoff: SHORT } },
    garbage: { code: 'garbage', says: /something else than the protocol/ },
    version: { code: 'version', says: /a version of the protocol/ },
    'hang-up': { code: 'channel-closed', says: /closed its channel/ },
    'bad-state': { code: 'refused', says: /a state of another world/, plan: { state: { bytes: 100_000 } } },
    'taken-port': { code: 'exited', says: /with code 1/ },
  }

  for (const [fault, { code, says, plan }] of Object.entries(FAULTS)) {
    it(`H1: ${RUNS} times "${fault}" cost no request and leave nothing behind, and the next upgrade succeeds`, async () => {
      const taken = createServer()
      await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
      const { port } = taken.address() as { port: number }
      const { generations, load } = await gateway({ undo: ['first', 'second'], taken: port, ...plan })
      await generations.replaced()
      const files = new OpenFiles()
      for (let run = 0; run < RUNS; run += 1) {
        const { pid } = generations
        const from = generations.lines.length
        if (fault === 'missing') generations.withoutProgram()
        else generations.plan({ fault: fault as Fault })
        const failed = await generations.failed()
        generations.withProgram()
        generations.plan({ fault: undefined as never })
        assert.equal(failed.code, code, failed.message)
        assert.match(failed.message, says)
        assert.equal(generations.pid, pid)
        assert.deepEqual(
          generations.lines.slice(from).flatMap(({ undone }) => undone ?? []),
          ['first', 'second'],
        )
        await generations.alone()
        await files.same(pid)
        await generations.replaced()
        await files.same(generations.pid)
      }
      taken.close()
      await finish(generations, load)
    })
  }
})
