/** A control plane with gateways, and faults to put into its steps. */
import type { AddressInfo } from 'node:net'
import { type JournalWriter, NotDone, type SagaJournal } from 'tidegate'
import type { Limits } from '../allocation.ts'
import { ControlPlane, type ControlPlaneOptions } from '../control-plane.ts'
import { Gateway } from '../gateway.ts'
import { HttpHandshakes, Tokens } from '../handshake.ts'
import type { Surroundings } from '../world.ts'
import { changed } from './changed.ts'

export { changed } from './changed.ts'

export const DOMAIN = 'example.test'
export const STEPS = ['gateway', 'dns', 'config', 'reload', 'handshake'] as const
export type Step = (typeof STEPS)[number]

/** How a step fails: certainly without effect, or with an error before or after its effect. */
export type Fate = 'clean' | 'unknown, not landed' | 'unknown, landed'

/** A fault in a step, for as long as it is set. */
export interface Fault {
  step: Step
  fate: Fate
}

export function uuid(n: number): string {
  return `00000000-0000-4000-8000-${`${n}`.padStart(12, '0')}`
}

/**
 * A journal that takes no more than so many records of the first saga, so many of the second, and so on: what a control
 * plane leaves that dies there.
 */
export function stopping(
  journal: SagaJournal,
  records: readonly number[],
): { journal: SagaJournal; stopped: number } {
  let begun = 0
  const made = {
    stopped: 0,
    journal: {
      ...bound(journal),
      async begin(saga, first) {
        const most = records[begun] ?? Number.POSITIVE_INFINITY
        begun += 1
        const writer = await journal.begin(saga, first)
        return writer && cut(writer, most)
      },
    } satisfies SagaJournal as SagaJournal,
  }
  const cut = (writer: JournalWriter, most: number): JournalWriter => ({
    close: async () => await writer.close(),
    append: async (record) => {
      if (record.sequence <= most) return await writer.append(record)
      made.stopped += 1
      await new Promise(() => {})
    },
  })
  return made
}

function bound(journal: SagaJournal): SagaJournal {
  return {
    begin: async (...call) => await journal.begin(...call),
    takeOver: async (...call) => await journal.takeOver(...call),
    read: async (...call) => await journal.read(...call),
    list: async (...call) => await journal.list(...call),
  }
}

/** How often the step that allocates is tried. */
const ATTEMPTS = 3

/** Plays a step as the fault that is set wants it. */
export function faulty(current: () => Fault | undefined) {
  return async <T>(step: Step, effect: () => Promise<T>): Promise<T> => {
    const fault = current()
    if (fault?.step !== step) return await effect()
    if (fault.fate === 'clean') throw new NotDone(`${step} is broken`)
    if (fault.fate === 'unknown, landed') await effect()
    throw new Error(`${step} is broken`)
  }
}

export interface Fixture extends AsyncDisposable {
  readonly world: Surroundings
  readonly control: ControlPlane
  readonly url: string
  readonly gateways: Gateway[]
  /** What was logged for the operator. */
  readonly log: string[]
  fault: Fault | undefined
  /** Another control plane over the same world, as the next process has it. */
  next(): ControlPlane
}

let fixtures = 0

/** Starts a control plane and so many gateways. `journal`: what the next control plane recovers from. */
export async function fixture(
  world: Surroundings,
  gateways: number,
  limits: Limits,
  journal: SagaJournal = world.journal,
): Promise<Fixture> {
  const tokens = new Tokens('secret')
  // Real servers are shared by the tests, and nothing of one is to be taken for another's.
  fixtures += 1
  const log: string[] = []
  const own: Gateway[] = []
  const play = faulty(() => made.fault)
  const handshakes = new HttpHandshakes(tokens, 'gateway')
  const { pool, dns, proxy } = world
  // Undos work, so the calls of steps are told from theirs.
  const attempts = new Map<string, number>()
  const undoing = new WeakSet<AbortSignal>()
  const options: ControlPlaneOptions = {
    ...world,
    pool: changed(pool, {
      allocate: async (organization, request) => {
        const attempt = (attempts.get(request) ?? 0) + 1
        attempts.set(request, attempt)
        const allocate = () => pool.allocate(organization, request)
        return attempt > ATTEMPTS ? await allocate() : await play('gateway', allocate)
      },
    }),
    dns: changed(dns, { put: async (...call) => await play('dns', () => dns.put(...call)) }),
    proxy: changed(proxy, {
      write: async (...call) => await play('config', () => proxy.write(...call)),
      remove: async (target, signal) => {
        undoing.add(signal)
        await proxy.remove(target, signal)
      },
      reload: async (signal) => {
        const reload = () => proxy.reload(signal)
        await (undoing.has(signal) ? reload() : play('reload', reload))
      },
    }),
    handshakes: changed(handshakes, {
      start: async (...call) => await play('handshake', () => handshakes.start(...call)),
    }),
    tokens,
    user: (authorization) => /^Bearer (\w+)$/.exec(authorization)?.[1],
    isMember: (user) => user === 'alice',
    gatewayKey: 'gateway',
    operatorKey: 'operator',
    limits,
    log: (line) => log.push(line),
  }
  const control = new ControlPlane(options)
  await new Promise<void>((resolve) => control.server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(control.server.address() as AddressInfo).port}`
  world.pool.start()
  for (let n = 1; n <= gateways; n += 1) {
    const id = `gateway-${fixtures}-${n}`
    const gateway = new Gateway({ control: url, id, key: 'gateway' }).revive()
    own.push(gateway)
    await world.pool.enrol(id, await gateway.listen())
    await gateway.holder.boot()
  }
  const made: Fixture = {
    world,
    control,
    url,
    gateways: own,
    log,
    fault: undefined,
    next: () => new ControlPlane({ ...options, journal }),
    async [Symbol.asyncDispose]() {
      for (const { gateway, epoch, organization } of await world.pool.list()) {
        if (organization !== undefined) await world.pool.stop(gateway, epoch, 'decommission').catch(() => {})
      }
      await world.pool.settled()
      for (const gateway of own) await gateway.close()
      control.server.closeAllConnections()
      await new Promise((resolve) => control.server.close(resolve))
      await world[Symbol.asyncDispose]()
    },
  }
  return made
}
