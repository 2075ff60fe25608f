/** Restarts a gateway in the four ways in which gateways restart, and measures what its organization sees of it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeMarker } from 'tidegate'
import { freePorts } from '../../relay/demo/ports.ts'
import { Program, type Report, within } from '../../relay/demo/program.ts'
import { post } from '../http.ts'

/** How the restart comes about. */
export const WAYS = {
  A: 'a marker file says restart, then SIGTERM',
  B: 'a plain SIGTERM, nothing was announced',
  C: 'a control call says restart',
  D: 'SIGKILL: the gateway says nothing',
} as const
export type Way = keyof typeof WAYS
export type Side = 'without' | 'with'

/** What one restart came to. */
export interface Restart {
  way: Way
  /** Whether the organization was served again by itself, or a user had to start it anew. */
  coldStarts: number
  /** The same gateway, under the same hostname. */
  kept: boolean
  /** From the start of the new process to its first line. Milliseconds. */
  booted: number
  /** From there until it served its organization; with a cold start, the user's patience included. */
  serving: number
  exitCode: string
}

/** How long a user looks at an idle gateway before starting it anew. Milliseconds. */
const PATIENCE = 2_000
const GATEWAYS = ['g1', 'g2', 'g3']

/** One control plane with its gateways, as processes. */
export class World implements AsyncDisposable {
  readonly #programs = new Map<string, Program>()
  readonly #ports = new Map<string, number>()
  #folder = ''
  #control = 0

  constructor(
    readonly side: Side,
    readonly options: {
      postgres?: string
      term?: string
      grace?: string
      /** Where gateways reach the control plane that is at this address; default: there. */
      between?: (control: string) => string
    } = {},
  ) {}

  async start(): Promise<this> {
    this.#folder = await mkdtemp(join(tmpdir(), 'tidegate-restart-'))
    const [control = 0, ...ports] = await freePorts(1 + GATEWAYS.length)
    this.#control = control
    for (const [n, gateway] of GATEWAYS.entries()) this.#ports.set(gateway, ports[n] ?? 0)
    await this.startControl()
    await Promise.all(GATEWAYS.map((gateway) => this.startGateway(gateway)))
    for (const gateway of GATEWAYS) await this.program(gateway).report('idle')
    return this
  }

  program(name: string): Program {
    return this.#programs.get(name) as Program
  }

  marker(gateway: string): string {
    return join(this.#folder, `${gateway}.marker`)
  }

  address(gateway: string): string {
    return `http://127.0.0.1:${this.#ports.get(gateway)}`
  }

  get control(): string {
    return `http://127.0.0.1:${this.#control}`
  }

  async startControl(): Promise<void> {
    const gateways = GATEWAYS.map((gateway) => `${gateway}=${this.address(gateway)}`).join()
    const { postgres, term = '6s', grace = '60s' } = this.options
    const kept = postgres === undefined ? { journal: join(this.#folder, 'leases') } : { postgres }
    const terms = this.side === 'with' ? { term, grace, ...kept } : {}
    const control = this.#run('control-plane', { port: this.#control, gateways, ...terms })
    await control.report('listening')
  }

  async startGateway(id: string): Promise<void> {
    const { term = '6s', between = (control) => control } = this.options
    const common = { id, port: this.#ports.get(id), 'control-plane': between(this.control) }
    const timed = { term, 'kill-budget': '2500ms', grace: '1s', marker: this.marker(id) }
    const gateway = this.#run('gateway', { ...common, ...(this.side === 'with' ? timed : {}) }, id)
    await gateway.report('booted')
  }

  /** A user starts the organization; answers which gateway it got under which name. */
  async startOrganization(organization: string): Promise<{ gateway: string; hostname: string }> {
    const response = await post(`${this.control}/gateway/start`, `member-of-${organization}`, {
      organization_id: organization,
    })
    const body = (await response.json()) as { gateway_id: string; gateway_hostname: string; error?: string }
    if (response.status !== 200) throw new Error(`start answered ${response.status}: ${body.error}`)
    return { gateway: body.gateway_id, hostname: body.gateway_hostname }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#programs.values()].map((program) => program.end('SIGKILL')))
    await rm(this.#folder, { recursive: true, force: true })
  }

  #run(script: string, options: Record<string, string | number | undefined>, name = script): Program {
    const folder = this.side === 'with' ? '' : 'plain/'
    const program = new Program(name, `../app-gateway/${folder}${script}.ts`, options, () => {})
    this.#programs.set(name, program)
    return program
  }
}

/** Makes a gateway stop in this way; its exit code, or the signal that ended it. */
export async function stopGateway(world: World, gateway: string, way: Way): Promise<string> {
  const program = world.program(gateway)
  if (way === 'A') writeMarker(world.marker(gateway), { instance: gateway, intent: 'restart' })
  if (way === 'C')
    await post(`${world.address(gateway)}/control/stop`, '', { intent: 'restart' }).catch(() => {})
  else program.signal(way === 'D' ? 'SIGKILL' : 'SIGTERM')
  const { code, signal } = await within(15_000, `${gateway} did not exit`, program.exited)
  return signal ?? `${code}`
}

/** One restart of the gateway of a fresh organization. */
export async function restart(world: World, way: Way): Promise<Restart> {
  const organization = `acme-${way}`
  const before = await world.startOrganization(organization)
  const { gateway } = before
  await world.program(gateway).report('serving')
  const exitCode = await stopGateway(world, gateway, way)
  const began = performance.timeOrigin + performance.now()
  await world.startGateway(gateway)
  const booted = (await world.program(gateway).report('booted')).at
  const served = await world
    .program(gateway)
    .report('serving', PATIENCE)
    .catch(() => undefined)
  let after = before
  let at = served?.at ?? 0
  if (served === undefined) {
    after = await world.startOrganization(organization)
    at = performance.timeOrigin + performance.now()
  }
  const kept = after.gateway === gateway && (served === undefined || sameOwner(served, before.hostname))
  return {
    way,
    coldStarts: served === undefined ? 1 : 0,
    kept: kept && served !== undefined,
    booted: booted - began,
    serving: at - booted,
    exitCode,
  }
}

/** The plain gateway does not know its hostname. */
function sameOwner(served: Report, hostname: string): boolean {
  return served.hostname === undefined || served.hostname === hostname
}
