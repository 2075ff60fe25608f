/**
 * A control plane as a process of its own, over servers that others started; it dies where it is told to.
 *
 * `node crash-program.ts {…}`, a {@link CrashOrder}. It writes lines of JSON: that it listens, each record that its
 * journal has taken, and what it recovered.
 */
import { writeSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { JournalAppend, JournalWriter, SagaJournal } from 'tidegate'
import { ControlPlane } from '../control-plane.ts'
import { HttpHandshakes, Tokens } from '../handshake.ts'
import type { Route } from '../route.ts'
import { type RealOptions, real } from '../world.ts'
import { changed } from './changed.ts'

export interface CrashOrder extends Pick<RealOptions, 'domain' | 'postgres' | 'powerdns' | 'nginx'> {
  readonly port: number
  /** What the pool is to have: names and addresses. */
  readonly gateways: readonly (readonly [string, string])[]
  /** The record of the first saga's journal around which it kills itself; none: it lives. */
  readonly die?: { readonly at: number; readonly moment: 'before' | 'after' }
  /** Whether it continues what an earlier process has left. */
  readonly recover?: boolean
}

/** A line of the program. */
export interface CrashLine {
  readonly listening?: string
  readonly record?: number
  readonly recovered?: readonly {
    readonly key: string
    readonly outcome: string
    readonly leaked: readonly string[]
    /** Of whose name something is left. */
    readonly hostname?: string | undefined
    readonly said: string
  }[]
}

const order = JSON.parse(process.argv[2] ?? '{}') as CrashOrder
const say = (line: CrashLine) => writeSync(1, `${JSON.stringify(line)}\n`)

function deadly(journal: SagaJournal): SagaJournal {
  const append = async ({ sequence }: JournalAppend, write: () => Promise<void>) => {
    const moment = order.die?.at === sequence ? order.die.moment : undefined
    if (moment === 'before') process.kill(process.pid, 'SIGKILL')
    await write()
    if (moment === 'after') process.kill(process.pid, 'SIGKILL')
    say({ record: sequence })
  }
  const wrapped = (writer: JournalWriter): JournalWriter => ({
    append: async (record) => await append(record, async () => await writer.append(record)),
    close: async () => await writer.close(),
  })
  return changed(journal, {
    async begin(saga, first) {
      let writer: JournalWriter | undefined
      await append(first, async () => {
        writer = await journal.begin(saga, first)
      })
      return writer && wrapped(writer)
    },
  })
}

const world = await real({
  ...order,
  // Nothing but what the saga does ends an allocation: it is the saga that is looked at.
  terms: { term: '1h', allocateLimit: '1h', quarantine: '1h', unroutePause: '50ms', unrouteAttempts: 2 },
})
const tokens = new Tokens('secret')
const control = new ControlPlane({
  ...world,
  journal: deadly(world.journal),
  tokens,
  handshakes: new HttpHandshakes(tokens, 'gateway'),
  user: () => 'alice',
  isMember: () => true,
  gatewayKey: 'gateway',
  operatorKey: 'operator',
  limits: { limit: '5s', lateness: '500ms', handshakeLimit: '5s' },
})
for (const [gateway, address] of order.gateways) await world.pool.enrol(gateway, address)
world.pool.start()
await new Promise<void>((resolve) => control.server.listen(order.port, '127.0.0.1', resolve))
say({ listening: `http://127.0.0.1:${(control.server.address() as AddressInfo).port}` })
if (order.recover) {
  const outcomes = await control.recover()
  say({
    recovered: outcomes.map((one) => ({
      key: one.key,
      outcome: one.outcome,
      leaked: one.outcome === 'stuck' ? one.error.leaked.map(({ step }) => step) : [],
      hostname:
        one.outcome === 'stuck' ? (one.error.outputs.gateway as Route | undefined)?.hostname : undefined,
      said: 'error' in one ? one.error.message : '',
    })),
  })
}
