/** One run: a server process under load gets its signal, and every request's fate is written down. */
import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client, type Exchange, type Style, type Target } from './load.js'
import { Http2Client } from './load-http2.js'

export interface Scenario {
  style: Style
  /** Bounds of the pause between an answer and the next request, in milliseconds. */
  think: [min: number, max: number]
  app: string
  http2: boolean
  connections: number
  fresh: number
  /** Whether clients whose connection ended open another. */
  reconnect: boolean
  lameDuck: number
}

export interface RunResult {
  contender: string
  exchanges: Exchange[]
  /** From the signal to the parent's exit event, in milliseconds; absent when it had to be killed. */
  exit?: number
  /** From the signal to the end of the last request that was in flight at the signal, in milliseconds. */
  longest: number
}

const WARM_UP = 300
const SLOW_REQUESTS = [500, 500, 300, 150]
/** Fresh connections come at random within this time of the signal, around the moment the door closes. */
const FRESH_WITHIN = 300
const KILL_AFTER = 6_000

export async function run(contender: string, scenario: Scenario): Promise<RunResult> {
  const server = await start(contender, scenario)
  const exchanges: Exchange[] = []
  let serving = true
  const target: Target = {
    port: server.port,
    style: scenario.style,
    record: (exchange) => exchanges.push(exchange),
  }
  const open = (kind: Exchange['kind']) =>
    scenario.http2 ? Http2Client.open(target, kind) : Client.open(target, kind)
  const opened = new Set<Client | Http2Client>()

  const keptClient = async () => {
    do {
      const client = await open('kept')
      if (!client) return
      opened.add(client)
      while (serving && !client.over) {
        await client.send()
        await delay(between(scenario.think))
      }
      opened.delete(client)
      // One that was told to go leaves by itself; one that was stopped is closed with the rest.
      if (!client.over) client.close()
    } while (serving && scenario.reconnect)
  }
  const oneRequest = async (kind: 'fresh' | 'slow', wait = 0) => {
    const client = await open(kind)
    if (!client) return
    opened.add(client)
    if (!client.over) await client.send(wait)
  }

  const kept = Array.from({ length: scenario.connections }, keptClient)
  await delay(WARM_UP)
  const slow = SLOW_REQUESTS.map((wait) => oneRequest('slow', wait))
  await delay(25)

  const signalled = performance.now()
  const exited = exitOf(server.process)
  server.process.kill('SIGTERM')
  const fresh = Array.from({ length: scenario.fresh }, async () => {
    await delay(Math.random() * FRESH_WITHIN)
    await oneRequest('fresh')
  })
  const timer = setTimeout(() => server.process.kill('SIGKILL'), KILL_AFTER)
  const { at, signal } = await exited
  clearTimeout(timer)
  serving = false
  await Promise.race([Promise.all([...kept, ...slow, ...fresh]), delay(1_000)])
  for (const client of opened) client.close()

  const inFlight = exchanges.filter(({ sent, ended }) => sent < signalled && ended > signalled)
  const ends = inFlight.map(({ outcome, sent, ended, wait }) => (outcome === 'ok' ? ended : sent + wait))
  const result: RunResult = {
    contender,
    exchanges,
    longest: Math.max(0, ...ends.map((end) => end - signalled)),
  }
  if (signal !== 'SIGKILL') result.exit = at - signalled
  return result
}

async function start(
  contender: string,
  scenario: Scenario,
): Promise<{ port: number; process: ChildProcess }> {
  const file = fileURLToPath(new URL(`servers/${contender}.ts`, import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      APP: scenario.app,
      HTTP2: scenario.http2 ? '1' : '0',
      LAME_DUCK: String(scenario.lameDuck),
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once('data', (line: Buffer) => resolve(Number(line.toString().replace('port ', ''))))
    child.once('exit', (code) => reject(new Error(`${contender} exited with ${code} before it listened`)))
  })
  return { port, process: child }
}

function exitOf(child: ChildProcess): Promise<{ at: number; signal: NodeJS.Signals | null }> {
  return new Promise((resolve) => {
    child.once('exit', (_code, signal) => resolve({ at: performance.now(), signal }))
  })
}

function between([min, max]: [number, number]): number {
  return min + Math.random() * (max - min)
}
