/**
 * A control plane that is killed with SIGKILL at every record of its journal, and what the next one makes of it; over
 * real servers, which are asked themselves what is left in them.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Bundled, bundled } from '../../../bindings-node/test/support/bundle.ts'
import { until } from '../../../bindings-node/test/until.ts'
import { Gateway } from '../gateway.ts'
import { startNginx, startPostgres, startPowerDns } from '../real/programs.ts'
import type { CrashLine, CrashOrder } from './crash-program.ts'
import { DOMAIN, uuid } from './support.ts'

const run = promisify(execFile)

type Moment = 'before' | 'after'
/** What the next control plane meets: all is well, or one of the servers cannot take back what was done. */
type Weather = 'everything works' | 'no name can be removed' | 'nginx cannot reload'

/** In which server the effect of a step is. */
const SERVERS: Record<string, string> = { dns: 'PowerDNS', config: 'nginx', reload: 'nginx' }

interface Row {
  readonly gateway: string
  readonly state: string
  readonly organization?: string
  readonly hostname?: string
}

let postgres: Awaited<ReturnType<typeof startPostgres>>
let powerdns: Awaited<ReturnType<typeof startPowerDns>>
let nginx: Awaited<ReturnType<typeof startNginx>>
let bundle: Bundled
before(async () => {
  bundle = await bundled(fileURLToPath(new URL('crash-program.ts', import.meta.url)))
  postgres = await startPostgres()
  powerdns = await startPowerDns(DOMAIN)
  nginx = await startNginx()
})
after(async () => {
  for (const started of [nginx, powerdns, postgres, bundle]) await started?.[Symbol.asyncDispose]()
})

// --- what the servers themselves say ---

interface Asked {
  /** The names that it has for organizations. */
  readonly names: ReadonlySet<string>
  /** The gateways that they lead to. */
  readonly gateways: readonly string[]
}

async function askPowerDns(): Promise<Asked> {
  const response = await fetch(`${powerdns.url}/api/v1/servers/localhost/zones/${DOMAIN}.`, {
    headers: { 'x-api-key': powerdns.apiKey },
  })
  const { rrsets } = (await response.json()) as {
    rrsets: { name: string; type: string; records: { content: string }[] }[]
  }
  const own = rrsets.filter(({ name }) => name.startsWith('org-'))
  return {
    names: new Set(own.map(({ name }) => name.replace(/\.$/, ''))),
    gateways: own
      .filter(({ type }) => type === 'TXT')
      .flatMap(({ records }) => records.map(({ content }) => /^"(.*)#\d+"$/.exec(content)?.[1] as string)),
  }
}

/** What is in the configs of nginx, as it reads them. */
async function askNginx(): Promise<Asked> {
  const words = ['-p', nginx.folder, '-e', 'error.log', '-c', 'nginx.conf', '-T']
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }
  const { stdout } = await run('nginx', words, { env, maxBuffer: 10_000_000 })
  const all = (pattern: RegExp) => [...stdout.matchAll(pattern)].map(([, found]) => found as string)
  return {
    names: new Set(all(/server_name (org-\S+);/g)),
    gateways: all(/return 200 "(\S+)#\d+";/g),
  }
}

/** What nginx answers whoever asks for a name; the gateway that answered, if one did. */
async function visit(host: string): Promise<{ status: number; gateway?: string; organization?: string }> {
  return await new Promise((resolve, reject) => {
    const where = { host: '127.0.0.1', port: nginx.port, path: '/hello', agent: false }
    const asked = request({ ...where, headers: { host } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => {
        const said = text.startsWith('{') ? JSON.parse(text) : {}
        resolve({ ...said, status: response.statusCode ?? 0 })
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

/** PowerDNS, but for changes that delete: those end 500. */
async function unforgetting(): Promise<Server> {
  const server = createServer(async (incoming, response) => {
    let body = ''
    for await (const chunk of incoming) body += chunk
    if (incoming.method === 'PATCH' && body.includes('"DELETE"')) {
      response.writeHead(500).end('{"error":"the database is read-only"}')
      return
    }
    const answer = await fetch(`${powerdns.url}${incoming.url}`, {
      method: incoming.method as string,
      headers: { 'x-api-key': `${incoming.headers['x-api-key']}` },
      ...(body !== '' && { body }),
    })
    response.writeHead(answer.status).end(await answer.text())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

// --- the control plane ---

class Program {
  readonly lines: CrashLine[] = []
  readonly ended: Promise<{ signal: string | null }>
  readonly #child: ChildProcess

  constructor(order: CrashOrder) {
    this.#child = spawn(process.execPath, [bundle.path, JSON.stringify(order)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) =>
      this.lines.push(JSON.parse(line)),
    )
    this.ended = once(this.#child, 'exit').then(([, signal]) => ({ signal }))
  }

  async line<K extends keyof CrashLine>(kind: K): Promise<NonNullable<CrashLine[K]>> {
    const find = () => this.lines.find((line) => line[kind] !== undefined)?.[kind]
    await until(() => find() !== undefined || this.#child.exitCode !== null, `a line "${kind}"`, 120_000)
    return find() ?? assert.fail(`it ended with ${this.#child.exitCode}`)
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.ended
  }
}

async function start(url: string, organization: string): Promise<number | undefined> {
  return await fetch(`${url}/gateway/start`, {
    method: 'POST',
    headers: { authorization: 'Bearer alice' },
    body: JSON.stringify({ organization_id: organization }),
  }).then(
    ({ status }) => status,
    () => undefined,
  )
}

async function rowsOf(url: string): Promise<Row[]> {
  const response = await fetch(`${url}/pool`, { headers: { authorization: 'Bearer operator' } })
  return (await response.json()) as Row[]
}

let used = 0

/** A pool with gateways of its own; `willing`: they shake hands, or answer that with 500. */
async function pooled(size: number, willing: boolean) {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  const control = `http://127.0.0.1:${port}`
  const gateways: [string, string][] = []
  const closing: (() => Promise<void>)[] = []
  const booting: (() => Promise<unknown>)[] = []
  for (let n = 1; n <= size; n += 1) {
    used += 1
    const id = `crash-${used}`
    const gateway = new Gateway({ control, id, key: 'gateway' })
    if (!willing) {
      gateway.server.removeAllListeners('request')
      gateway.server.on('request', (_, response) => response.writeHead(500).end())
    }
    gateways.push([id, await gateway.listen()])
    closing.push(async () => await gateway.close())
    if (willing) booting.push(async () => await gateway.revive().holder.boot())
  }
  const order: CrashOrder = {
    domain: DOMAIN,
    postgres: await postgres.createDatabase(),
    powerdns: { url: powerdns.url, apiKey: powerdns.apiKey },
    nginx: { folder: nginx.folder, port: nginx.port },
    port,
    gateways,
  }
  const programs: Program[] = []
  return {
    order,
    /** The next life of the control plane. */
    live: (changes: Partial<CrashOrder> = {}) => {
      const program = new Program({ ...order, ...changes })
      programs.push(program)
      return program
    },
    boot: async () => await Promise.all(booting.map(async (boot) => await boot())),
    [Symbol.asyncDispose]: async () => {
      for (const program of programs) await program.kill()
      for (const close of closing) await close()
    },
  }
}

/** One life of the control plane for each place, and one that makes whole what they left. */
async function crashEverywhere(
  willing: boolean,
  moments: readonly Moment[],
  weather: Weather,
): Promise<void> {
  // The records of one that is let go on to its end.
  const most = willing ? 12 : 23
  const places = moments.flatMap((moment) =>
    Array.from({ length: most }, (_, n) => ({ at: n + 1, moment }) as const),
  )
  // One more for the witness, and one that nobody gets.
  await using pool = await pooled(places.length + 2, willing)
  const { order } = pool
  const organizations = places.map((_, n) => uuid(used * 1_000 + n))
  const control = `http://127.0.0.1:${order.port}`

  const whole = pool.live()
  await whole.line('listening')
  await pool.boot()
  const witness = uuid(used * 1_000 + 999)
  assert.equal(await start(control, witness), willing ? 200 : 500)
  assert.equal(whole.lines.filter(({ record }) => record !== undefined).length, most, 'records of one')
  await whole.kill()

  for (const [n, die] of places.entries()) {
    const doomed = pool.live({ die })
    await doomed.line('listening')
    assert.equal(await start(control, organizations[n] as string), undefined, `it answered at ${die.at}`)
    assert.equal((await doomed.ended).signal, 'SIGKILL', `${die.moment} ${die.at}`)
  }

  const broken = join(nginx.folder, 'routes', 'broken.conf')
  const deaf = weather === 'no name can be removed' ? await unforgetting() : undefined
  if (weather === 'nginx cannot reload') await writeFile(broken, 'server {\n')
  const met = deaf && {
    url: `http://127.0.0.1:${(deaf.address() as AddressInfo).port}`,
    apiKey: powerdns.apiKey,
  }
  const next = pool.live({ ...(met && { powerdns: met }), recover: true })
  try {
    const outcomes = await next.line('recovered')
    const settled = ({ state }: Row) => ['free', 'active', 'quarantined'].includes(state)
    await until(async () => (await rowsOf(control)).every(settled), 'the pool to be whole', 60_000)
    // So that nginx says what it would load, too.
    await rm(broken, { force: true })

    const rows = await rowsOf(control)
    assert.equal(rows.length, order.gateways.length, 'the whole pool')
    // One that was killed before its first record has begun nothing.
    const begun = places.filter(({ at, moment }) => at > 1 || moment === 'after')
    // And one that was killed after its last has ended.
    const unfinished = begun.filter(({ at, moment }) => at < most || moment === 'before')
    assert.equal(outcomes.length, unfinished.length)
    const [dns, proxy] = [await askPowerDns(), await askNginx()]
    const reported = new Map<string, readonly string[]>()
    for (const { outcome, leaked, hostname, said } of outcomes) {
      assert.ok(outcome !== 'not-continued', said)
      if (outcome === 'stuck')
        reported.set(hostname ?? assert.fail(`it does not say of whom: ${said}`), leaked)
    }

    const active = new Map(
      rows.filter(({ state }) => state === 'active').map((row) => [row.organization, row]),
    )
    let left = 0
    for (const [n, organization] of organizations.entries()) {
      const hostname = `org-${organization}.${DOMAIN}`
      const where = `${willing ? 'willing' : 'unwilling'}, ${places[n]?.moment} ${places[n]?.at}, ${weather}`
      const { status, ...who } = await visit(hostname)
      const row = active.get(organization)
      if (row !== undefined) {
        assert.deepEqual([status, who.gateway, who.organization], [200, row.gateway, organization], where)
        assert.deepEqual([dns.names.has(hostname), proxy.names.has(hostname)], [true, true], where)
        continue
      }
      const residue = [
        ...(dns.names.has(hostname) ? ['PowerDNS'] : []),
        ...(proxy.names.has(hostname) || status !== 404 ? ['nginx'] : []),
      ]
      left += residue.length
      const said = [...new Set(reported.get(hostname)?.map((step) => SERVERS[step] ?? step))].sort().reverse()
      assert.deepEqual(said, residue, `${where}: the report, and what there is`)
    }
    if (weather !== 'everything works') assert.ok(left > 0, 'something was to be left')
    else assert.equal(left, 0)
    assert.equal(active.size > 0, willing, 'those go on that can')
    // No name and no route leads to a gateway that anybody may get.
    const free = new Set(rows.filter(({ state }) => state === 'free').map(({ gateway }) => gateway))
    assert.ok(free.size > 0)
    for (const gateway of [...dns.gateways, ...proxy.gateways]) {
      assert.ok(!free.has(gateway), `${gateway} is free, and led to`)
    }
  } finally {
    await rm(broken, { force: true })
    deaf?.closeAllConnections()
    deaf?.close()
  }
}

const MOMENTS = ['before', 'after'] as const

describe('a control plane that is killed at every record of its journal', () => {
  for (const willing of [true, false]) {
    const what = willing ? 'an allocation that commits' : 'one whose handshake fails'
    test(`of ${what} leaves what the next one makes whole`, async () => {
      await crashEverywhere(willing, MOMENTS, 'everything works')
    })
    for (const weather of ['no name can be removed', 'nginx cannot reload'] as const) {
      test(`of ${what}, and ${weather}: the next one reports what is left, and nothing else`, async () => {
        await crashEverywhere(willing, ['before'], weather)
      })
    }
  }
})
