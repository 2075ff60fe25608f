/** One run of the scenario: redeploy the relays one after another, then kill one, all under load. */
import type { Directory } from './directory.ts'
import { freePorts } from './ports.ts'
import { Program, type Report, until, within } from './program.ts'

export interface Plan {
  hosts: number
  rate: number
  /** Hosts told to move a second; 0: all at once. */
  reconnectRate: number
}

/** What happened to the fleet when one relay went away. All times in milliseconds. */
export interface Departure {
  what: string
  /** Hosts whose tunnel was on that relay. */
  affected: number
  /** From the moment a host was told, or cut off, until a relay admitted it again. */
  reconnects: number[]
  /** How often a host that was on that relay was admitted again, beyond once. */
  repeated: number
  /** Hosts of other relays that were made to reconnect. */
  disturbed: number
  /** Hosts that were not back in time. */
  missing: number
  /** Dials of all hosts, also those that were refused. */
  dials: number
  /** Rows of the departed process just after its exit, and when everybody was back. */
  staleAtExit: number
  staleAtEnd: number
  exitCode: string
  /** From the signal to the exit. */
  exitAfter: number
  /** When each host was told, for the pace. */
  toldAt: number[]
  /** From a relay that accepts (again) until the last host was back. */
  lastBackAfterAccepting: number
  requestsLost: number
}

export interface Result {
  side: 'without' | 'with'
  departures: Departure[]
  load: {
    sent: number
    answered: number
    lost: number
    lossesByCause: Record<string, number>
    slowest: number
  }
}

interface Relay {
  program: Program
  machine: string
  port: number
  peerPort: number
  incarnation: number
}

/** How long a platform takes to start a machine's next process. */
const BOOT = 1_000
/** How many hosts share one process. */
const HOSTS_PER_PROCESS = 500

export async function rollout(
  side: Result['side'],
  plan: Plan,
  directory: Directory,
  say: (text: string) => void,
): Promise<Result> {
  const fleet = new Fleet(side, plan, directory)
  try {
    await fleet.start()
    say(`${plan.hosts} hosts are connected; the load runs`)
    const departures = []
    for (const machine of ['a', 'b']) {
      departures.push(describe(say, await fleet.depart(machine, 'SIGINT')))
    }
    departures.push(describe(say, await fleet.depart('a', 'SIGKILL')))
    return { side, departures, load: await fleet.stop() }
  } finally {
    await fleet.end()
  }
}

function describe(say: (text: string) => void, departure: Departure): Departure {
  const last = Math.round(Math.max(0, ...departure.reconnects))
  say(
    `${departure.what}: exit ${departure.exitCode} after ${Math.round(departure.exitAfter)} ms, ` +
      `${departure.affected - departure.missing} of ${departure.affected} hosts back, the last after ${last} ms, ` +
      `${departure.requestsLost} requests lost, ${departure.staleAtExit} stale rows`,
  )
  return departure
}

class Fleet {
  readonly #relays = new Map<string, Relay>()
  readonly #programs: Program[] = []
  /** Where each host is, and since when. */
  readonly #place = new Map<string, string>()
  /** Reports of admissions, notices and dials, in order of arrival. */
  #admissions: Report[] = []
  #told = new Map<string, number>()
  #dials = 0
  #load: Program | undefined
  #lost = 0

  constructor(
    readonly side: Result['side'],
    readonly plan: Plan,
    readonly directory: Directory,
  ) {}

  async start(): Promise<void> {
    for (const machine of ['a', 'b']) {
      const [port, peerPort] = await freePorts(2)
      await this.#startRelay(machine, port ?? 0, peerPort ?? 0)
    }
    const relays = [...this.#relays.values()].map((relay) => `http://127.0.0.1:${relay.port}`).join(',')
    const script = this.side === 'with' ? 'host.ts' : 'plain/host.ts'
    for (let first = 0; first < this.plan.hosts; first += HOSTS_PER_PROCESS) {
      const count = Math.min(HOSTS_PER_PROCESS, this.plan.hosts - first)
      this.#run(`hosts ${first}`, script, { relays, first, count })
    }
    const everybody = await until(60_000, () => this.#place.size === this.plan.hosts)
    if (!everybody)
      throw new Error(
        `only ${this.#place.size} of ${this.plan.hosts} hosts connected in 60 s: ${this.#complaints()}`,
      )
    this.#load = this.#run('load', 'load.ts', { relays, hosts: this.plan.hosts, rate: this.plan.rate })
    await this.#load.report('load-started')
    await until(2_000, () => this.#loadCounts().answered > this.plan.rate)
  }

  /** Lets one relay go, starts it again after a while, and waits until every host is back. */
  async depart(machine: string, signal: 'SIGINT' | 'SIGKILL'): Promise<Departure> {
    const relay = this.#relays.get(machine)
    if (relay === undefined) throw new Error(`there is no relay ${machine}`)
    const affected = new Set([...this.#place].filter(([, place]) => place === machine).map(([host]) => host))
    this.#admissions = []
    this.#told = new Map()
    this.#dials = 0
    const lostBefore = this.#lost
    const signalled = performance.timeOrigin + performance.now()
    relay.program.signal(signal)
    const exit = await within(60_000, `relay ${machine} did not exit`, relay.program.exited)
    const departed = { machine, incarnation: relay.incarnation }
    const staleAtExit = await this.directory.rowsOf(departed, [...this.#place.keys()])
    await new Promise((resolve) => setTimeout(resolve, BOOT))
    const again = await this.#startRelay(machine, relay.port, relay.peerPort)
    const back = () => new Set(this.#admissions.map((report) => String(report.host)))
    await until(65_000, () => {
      const returned = back()
      return [...affected].every((host) => returned.has(host))
    })
    await this.#settle()
    const admissions = this.#admissions.filter((report) => affected.has(String(report.host)))
    const returned = back()
    const firsts = new Map([...admissions].reverse().map((report) => [String(report.host), report.at]))
    const reconnects = [...firsts].map(
      ([host, at]) => at - (this.#told.get(host) ?? Math.min(exit.at, signalled)),
    )
    // After a kill the hosts may go to the relay that stayed; it accepted all the time.
    const accepting = signal === 'SIGKILL' ? exit.at : again.at
    return {
      what: signal === 'SIGKILL' ? `relay ${machine} killed` : `relay ${machine} redeployed`,
      affected: affected.size,
      reconnects: reconnects.sort((x, y) => x - y),
      repeated: admissions.length - reconnects.length,
      disturbed: [...returned].filter((host) => !affected.has(host)).length,
      missing: [...affected].filter((host) => !returned.has(host)).length,
      dials: this.#dials,
      staleAtExit,
      staleAtEnd: await this.directory.rowsOf(departed, [...this.#place.keys()]),
      exitCode: exit.signal ?? String(exit.code),
      exitAfter: exit.at - signalled,
      toldAt: [...this.#told.values()].sort((x, y) => x - y),
      lastBackAfterAccepting: Math.max(0, ...admissions.map((report) => report.at - accepting)),
      requestsLost: this.#lost - lostBefore,
    }
  }

  async stop(): Promise<Result['load']> {
    this.#load?.signal('SIGTERM')
    const over = await this.#load?.report('load-over')
    return over as unknown as Result['load']
  }

  async end(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end('SIGKILL')))
  }

  /** Waits until the load has said twice how it fares: what a departure lost is known by then. */
  async #settle(): Promise<void> {
    const said = this.#load?.seen.length ?? 0
    await until(10_000, () => (this.#load?.seen.length ?? 0) >= said + 2)
  }

  async #startRelay(machine: string, port: number, peerPort: number): Promise<Report> {
    const script = this.side === 'with' ? 'relay.ts' : 'plain/relay.ts'
    const common = { port, machine, directory: this.directory.url }
    const options = this.side === 'with' ? { ...common, 'peer-port': peerPort, ...this.#budget() } : common
    const program = this.#run(`relay ${machine}`, script, options)
    const listening = await program.report('listening')
    this.#relays.set(machine, {
      program,
      machine,
      port,
      peerPort,
      incarnation: Number(listening.incarnation),
    })
    return listening
  }

  /** A platform that waits for 10 s, or for as long as telling every host at the rate asked for takes. */
  #budget(): Record<string, string | number> {
    const { hosts, reconnectRate } = this.plan
    const telling = reconnectRate > 0 ? Math.ceil(hosts / reconnectRate) : 0
    return { 'reconnect-rate': reconnectRate, grace: `${telling + 6}s`, 'kill-budget': `${telling + 10}s` }
  }

  #run(name: string, script: string, options: Record<string, string | number>): Program {
    const program = new Program(name, script, options, (report) => this.#note(report))
    this.#programs.push(program)
    return program
  }

  #note(report: Report): void {
    if (report.event === 'admitted') {
      this.#place.set(String(report.host), String(report.machine))
      this.#admissions.push(report)
    } else if (report.event === 'told') {
      this.#told.set(String(report.host), report.at)
    } else if (report.event === 'dial') {
      this.#dials += 1
    } else if (report.event === 'load' || report.event === 'load-over') {
      this.#lost = Number(report.lost)
    }
  }

  #loadCounts(): { answered: number } {
    return { answered: Number(this.#load?.seen.at(-1)?.answered ?? 0) }
  }

  #complaints(): string {
    return this.#programs
      .map((program) => program.complaint)
      .filter((text) => text !== '')
      .join(' | ')
      .slice(0, 1_000)
  }
}
