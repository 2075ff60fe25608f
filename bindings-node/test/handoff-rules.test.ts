import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { request } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bundle, endAll, exists, Generations, type Line } from './handoff/generations.js'
import { Load } from './handoff/load.js'
import type { Plan } from './handoff/program.js'
import { freePort } from './support/ports.js'
import { until } from './until.js'

const speaker = fileURLToPath(new URL('handoff/speaker.mjs', import.meta.url))
let program = ''
before(async () => {
  program = await bundle('program')
})
after(endAll)

async function gateway(plan: Plan = {}, through: string[] = [], env: NodeJS.ProcessEnv = {}) {
  const generations = new Generations(program, plan, { through, env })
  const { ports = {} } = await generations.serving()
  return { generations, ports, port: ports.web as number }
}

/** The process id of whoever answers. */
function ask(at: number | string, path = '/'): Promise<number> {
  const target = typeof at === 'number' ? { host: '127.0.0.1', port: at } : { socketPath: at }
  return new Promise((resolve, reject) => {
    const sent = request({ ...target, path, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (part) => {
        body += part
      })
      response.on('end', () => resolve(Number(body)))
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** The same of a server that says it without being asked. */
function greeting(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = ''
    const socket = connect(port, '127.0.0.1')
    socket.setEncoding('utf8').on('data', (part) => {
      said += part
    })
    socket.once('end', () => resolve(Number(said)))
    socket.once('error', reject)
  })
}

/** How many connections wait to be accepted. */
function queued(port: number): number {
  const rows = readFileSync('/proc/self/net/tcp', 'utf8').split('\n')
  const its = rows
    .map((row) => row.trim().split(/[\s:]+/))
    .find((row) => Number.parseInt(row[2] ?? '', 16) === port && row[5] === '0A')
  return Number.parseInt(its?.[7] ?? '0', 16)
}

const isRefused = (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED'

describe('what is handed over', { concurrency: 3 }, () => {
  it('H3: 4,000 listening sockets', async () => {
    const names = Array.from({ length: 4_000 }, (_, index) => `s${index}`)
    const listeners = Object.fromEntries(names.map((name) => [name, { net: true, host: '127.0.0.1' }]))
    const { generations, ports } = await gateway({ listeners })
    const limit = /Max open files +\d+ +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    assert.ok(Number(limit) >= 9_000, `this test needs 9,000 open files, the hard limit is ${limit}`)
    const { pid } = await generations.replaced()
    const next = generations.lines.find((line) => line.pid === pid && line.phase === 'serving')
    assert.deepEqual(next?.ports, ports)
    for (const name of names.filter((_, index) => index % 100 === 0)) {
      assert.equal(await greeting(ports[name] as number), pid)
    }
    generations.end()
  })

  it('H3: more than the system can carry is an error that says so, and nothing is cut', async () => {
    const names = Array.from({ length: 600 }, (_, index) => `${index}`.padStart(250, 'n'))
    const listeners = Object.fromEntries(names.map((name) => [name, { net: true, host: '127.0.0.1' }]))
    const { generations } = await gateway({ listeners })
    const failed = await generations.failed()
    assert.equal(failed.code, 'spawn-failed')
    assert.match(failed.message, /E2BIG/)
    generations.end()
  })

  it('H3: what the successor does not ask for is closed once it accepts', async () => {
    const web = { host: '127.0.0.1' }
    const { generations, ports } = await gateway({
      listeners: { web, extra: { ...web, port: await freePort() } },
    })
    assert.equal(await ask(ports.extra as number), generations.pid)
    generations.plan({ listeners: { web } })
    const { pid } = await generations.replaced()
    assert.equal(await ask(ports.web as number), pid)
    await assert.rejects(ask(ports.extra as number), isRefused)
    generations.end()
  })

  it('H3: a successor that asks for another port opens that, and the old one is closed', async () => {
    const { generations, port } = await gateway({
      listeners: { web: { host: '127.0.0.1', port: await freePort() } },
    })
    const other = await freePort()
    generations.plan({ listeners: { web: { host: '127.0.0.1', port: other } } })
    const { pid } = await generations.replaced()
    assert.equal(await ask(other), pid)
    await assert.rejects(ask(port), isRefused)
    generations.end()
  })

  it('H7: a unix socket, whose path goes with the last generation', async () => {
    const path = join(tmpdir(), `tidegate-${process.pid}.sock`)
    const { generations } = await gateway({ listeners: { web: { path } } })
    assert.equal(await ask(path), generations.pid)
    const { pid } = await generations.replaced()
    assert.equal(await ask(path), pid)
    process.kill(pid, 'SIGTERM')
    await until(() => !exists(pid), 'the last generation to be gone')
    assert.equal(existsSync(path), false)
  })

  it('H3: a successor that stalls still has room for everyone who connects', async () => {
    const { generations, port } = await gateway()
    const { pid } = await generations.replaced()
    process.kill(pid, 'SIGSTOP')
    const clients = Array.from({ length: 1_000 }, () => connect(port, '127.0.0.1'))
    let connected = 0
    for (const client of clients) client.once('connect', () => (connected += 1))
    await until(() => connected === clients.length, 'all to be connected')
    for (const client of clients) client.destroy()
    process.kill(pid, 'SIGCONT')
    generations.end()
  })

  it('D4: a socket that was inherited is shut like an own one, unless a manager holds it as well', async () => {
    const held = await Promise.all(
      [1, 2].map(async () => {
        const server = createServer()
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        return server
      }),
    )
    const fds = held.map((server) => (server as unknown as { _handle: { fd: number } })._handle.fd)
    const script = fileURLToPath(new URL('support/inherited-listeners.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import', 'tsx', script], {
      stdio: ['ignore', 'pipe', 'inherit', ...fds],
    })
    const [printed] = await once(child.stdout as Readable, 'data')
    assert.deepEqual(JSON.parse(printed), { own: true, foreign: false })
    for (const server of held) server.close()
  })

  it('D4: the last generation resets nobody when it closes the socket that it has inherited', async () => {
    const { generations, port } = await gateway()
    const { pid } = await generations.replaced()
    const load = new Load(port, { kept: 0, fresh: 64, pause: 0 })
    await until(() => load.answered > 200, 'load')
    process.kill(pid, 'SIGTERM')
    await until(() => !exists(pid), 'the last generation to be gone')
    const { failures } = await load.stop()
    assert.deepEqual(new Set(failures), new Set(['fresh: ECONNREFUSED']))
    generations.end()
  })

  it('H6: a state, with its version', async () => {
    const { generations } = await gateway({ state: { bytes: 300_000 } })
    await generations.replaced()
    const { state } = await generations.line((line) => line.state, 'the state')
    assert.deepEqual(state, { bytes: 300_000, version: 4, sum: 300_000 * 7 })
    generations.end()
  })

  it('H6: no state that is larger than allowed: the old process serves on', async () => {
    const { generations, port } = await gateway({ state: { bytes: 10_000, most: 9_999 } })
    const failed = await generations.failed()
    assert.equal(failed.code, 'state-failed')
    assert.match(failed.message, /10000 bytes, 9999 are allowed/)
    assert.equal(await ask(port), generations.pid)
    generations.end()
  })

  it('H7: the lease, after the successor accepts; and steps are told that it is a handoff', async () => {
    const { generations } = await gateway({ lease: true })
    const { pid, old } = await generations.replaced()
    const { lines } = generations
    const of = (which: number, found: (line: Line) => unknown) =>
      lines.filter((line) => line.pid === which).find(found)
    assert.equal(of(old, ({ lease }) => lease)?.lease, 'passed')
    assert.equal(of(pid, ({ lease }) => lease)?.lease, 'taken')
    assert.equal(of(old, ({ released }) => released)?.released, 'handoff')
    assert.deepEqual(of(old, ({ outcome }) => outcome)?.outcome?.exitCode, 0)
    generations.end()
  })

  it('H5: the PID file is the one of the generation that serves, and goes with the last', async () => {
    const pidFile = join(tmpdir(), `tidegate-${process.pid}.pid`)
    const { generations } = await gateway({ handoff: { pidFile } })
    const named = () => Number(readFileSync(pidFile, 'utf8'))
    assert.equal(named(), generations.pid)
    const { pid } = await generations.replaced()
    assert.equal(named(), pid)
    generations.plan({ fault: 'crash' })
    await generations.failed()
    assert.equal(named(), pid)
    process.kill(pid, 'SIGTERM')
    await until(() => !exists(pid), 'the last generation to be gone')
    assert.equal(existsSync(pidFile), false)
  })

  it('H5: the working directory is that in which the first generation was started', async () => {
    const { generations } = await gateway({ wanders: true })
    assert.equal(readlinkSync(`/proc/${generations.pid}/cwd`), '/')
    const { pid } = await generations.replaced()
    assert.equal(readlinkSync(`/proc/${pid}/cwd`), process.cwd())
    generations.end()
  })

  it('H6: both ways to and from a program that speaks the next version, and none beyond it', async () => {
    const speaking = (version: number): Plan => ({
      handoff: { command: process.execPath, args: [speaker, `${version}`, process.execPath, program] },
    })
    const { generations, port } = await gateway(speaking(2))
    const load = new Load(port, { kept: 0, fresh: 4 })
    for (let run = 0; run < 3; run += 1) {
      // From version 1 to one that speaks 2, and back again.
      const { pid } = await generations.replaced()
      assert.equal(await ask(port), pid)
      await generations.replaced()
    }
    assert.deepEqual(
      generations.lines.flatMap((line) => (line as { spoken?: number }).spoken ?? []),
      [1, 1, 1, 1, 1, 1],
    )
    const { failures } = await load.stop()
    assert.deepEqual(failures, [])
    generations.end()

    const beyond = await gateway(speaking(3))
    assert.equal((await beyond.generations.failed()).code, 'version')
    beyond.generations.end()
  })

  it('H6: a successor is turned away by an old process of a version that it does not know', async () => {
    const generations = new Generations(speaker, {}, { args: ['3', process.execPath, program] })
    const { ports, pid } = await generations.serving()
    process.kill(pid, 'SIGUSR2')
    await generations.line((line) => line.failed, 'the end of the successor')
    assert.equal(await ask(ports?.web as number), pid)
    generations.end()
  })
})

describe('who may ask for an upgrade, and when', { concurrency: 3 }, () => {
  it('H4: none while an older generation drains, with the reason; then the next succeeds', async () => {
    const { generations, port } = await gateway()
    const old = generations.pid
    const slow = ask(port, '/?delay=2000')
    await ask(port)
    const { upgraded } = await generations.upgrade()
    await generations.serving(upgraded?.pid)
    const failed = await generations.failed()
    assert.deepEqual([failed.code, failed.refused], ['older-draining', true])
    assert.match(failed.message, /an older generation still drains/)
    // The old one answers what it had accepted, and will not be replaced twice.
    const from = generations.lines.length
    process.kill(old, 'SIGUSR2')
    const replaced = await generations.line((line) => line.pid === old && line.failed, 'the refusal', from)
    assert.equal(replaced.failed?.code, 'replaced')
    assert.equal(await slow, old)
    await until(() => !exists(old), 'the old generation to be gone')
    await generations.replaced()
    generations.end()
  })

  it('H4: one that is queued waits for the older generation', async () => {
    const { generations, port } = await gateway({ handoff: { whileDraining: 'queue' } })
    const old = generations.pid
    const slow = ask(port, '/?delay=1000')
    await ask(port)
    const { upgraded } = await generations.upgrade()
    await generations.serving(upgraded?.pid)
    const next = await generations.upgrade()
    assert.ok(next.upgraded, JSON.stringify(next))
    assert.equal(exists(old), false)
    assert.equal(await slow, old)
    generations.end()
  })

  it('H4: as many generations may drain as allowed, and each knows of all before it', async () => {
    const { generations, port } = await gateway({ handoff: { mostDraining: 2 } })
    const slow: Promise<number>[] = []
    const drained: number[] = []
    for (let run = 0; run < 2; run += 1) {
      const { pid } = generations
      drained.push(pid)
      slow.push(ask(port, '/?delay=2500'))
      assert.equal(await ask(port), pid)
      const { upgraded } = await generations.upgrade()
      await generations.serving(upgraded?.pid)
    }
    assert.deepEqual(drained.map(exists), [true, true])
    assert.equal((await generations.failed()).code, 'older-draining')
    assert.deepEqual(await Promise.all(slow), drained)
    await until(() => !drained.some(exists), 'both to be gone')
    await generations.replaced()
    generations.end()
  })

  it('H4: one at a time', async () => {
    const { generations } = await gateway()
    generations.plan({ boot: 500 })
    const { pid } = generations
    process.kill(pid, 'SIGUSR2')
    await until(() => generations.processes().length === 2, 'the successor to be started')
    const failed = await generations.failed()
    assert.deepEqual([failed.code, failed.refused], ['in-flight', true])
    await generations.line((line) => line.pid === pid && line.upgraded, 'the first to succeed')
    generations.end()
  })

  it('none before it serves', async () => {
    const generations = new Generations(program, { boot: 60_000 })
    const { pid } = await generations.line((line) => line.prepared, 'the signal to be heard')
    process.kill(pid, 'SIGUSR2')
    const { failed } = await generations.line((line) => line.failed, 'the refusal')
    assert.equal(failed?.code, 'starting')
    generations.end()
  })

  it('a stop in the middle of one takes it back first, and then stops', async () => {
    const { generations, port } = await gateway({ undo: ['first'] })
    generations.plan({ boot: 60_000 })
    const { pid } = generations
    process.kill(pid, 'SIGUSR2')
    await until(() => generations.processes().length === 2, 'the successor to be started')
    assert.equal(await ask(port), pid)
    process.kill(pid, 'SIGTERM')
    const { failed } = await generations.line((line) => line.failed, 'the end of the upgrade')
    assert.equal(failed?.code, 'stopped')
    const { outcome } = await generations.line((line) => line.outcome, 'the outcome')
    assert.deepEqual([outcome?.intent, outcome?.exitCode], ['restart', 0])
    assert.ok(generations.lines.some(({ undone }) => undone === 'first'))
    assert.deepEqual(await generations.exited, { code: 0, signal: null })
    assert.deepEqual(generations.processes(), [])
    await assert.rejects(ask(port), isRefused)
  })

  it('PID 1 refuses, and says which way to go', async () => {
    const { generations, port } = await gateway({}, [
      'unshare',
      '--user',
      '--map-root-user',
      '--pid',
      '--fork',
      '--kill-child',
    ])
    const unshare = generations.first.pid as number
    const inside = Number(readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8'))
    process.kill(inside, 'SIGUSR2')
    const { failed } = await generations.line((line) => line.failed, 'the refusal')
    assert.equal(failed?.code, 'pid-1')
    assert.match(failed?.message ?? '', /PID 1.*entrypoint that stays/)
    assert.equal(await ask(port), 1)
    generations.end()
  })

  it('so does a process whose parent watches its id, unless told otherwise', async () => {
    for (const watched of [undefined, false]) {
      const tini = join(tmpdir(), `tidegate-${process.pid}`, 'tini')
      mkdirSync(dirname(tini), { recursive: true })
      rmSync(tini, { force: true })
      symlinkSync('/bin/sh', tini)
      const plan: Plan = watched === undefined ? {} : { handoff: { watched } }
      const { generations } = await gateway(plan, [tini, '-c', '"$@"; exit $?', 'tini'])
      const { failed, upgraded } = await generations.upgrade()
      if (watched === undefined) assert.match(failed?.message ?? '', /watched by its id.*\(tini\)/)
      else assert.ok(upgraded)
      generations.end()
    }
  })
})

describe('a successor whose old process dies', { concurrency: 2 }, () => {
  it('H4: promotes itself, and nobody who connects meanwhile is turned away', async () => {
    const pidFile = join(tmpdir(), `tidegate-promoted-${process.pid}.pid`)
    const { generations, port } = await gateway({ handoff: { pidFile } })
    const old = generations.pid
    generations.plan({ boot: 500 })
    process.kill(old, 'SIGUSR2')
    await until(() => generations.processes().length === 2, 'the successor to be started')
    process.kill(old, 'SIGKILL')
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(port)))
    const { pid } = generations
    assert.notEqual(pid, old)
    assert.deepEqual(new Set(answers), new Set([pid]))
    await until(() => Number(readFileSync(pidFile, 'utf8')) === pid, 'the PID file')
    // And it can be replaced in its turn.
    generations.plan({ boot: 0 })
    await generations.replaced()
    generations.end()
  })

  it('H2, H4: also when it waits for the acknowledgement, and not before', async () => {
    const { generations, port } = await gateway()
    const old = generations.pid
    generations.plan({ boot: 300 })
    process.kill(old, 'SIGUSR2')
    await until(() => generations.processes().length === 2, 'the successor to be started')
    process.kill(old, 'SIGSTOP')
    await generations.line(({ ready }) => ready, 'ready')
    const asked = ask(port)
    await until(() => queued(port) === 1, 'the connection to wait: it is not for the successor yet')
    assert.equal(generations.pid, old)
    process.kill(old, 'SIGKILL')
    assert.equal(await asked, generations.pid)
    assert.notEqual(generations.pid, old)
    generations.end()
  })
})

describe('under a service manager', { concurrency: 2 }, () => {
  /** What a manager is told: one text for each datagram. */
  async function manager() {
    const socket = join(tmpdir(), `tidegate-notify-${process.pid}-${Math.random().toString(36).slice(2)}`)
    const script = `import socket, sys, json
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print(json.dumps("bound"), flush=True)
while True: print(json.dumps(s.recv(4096).decode()), flush=True)`
    const child = spawn('python3', ['-c', script, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
    const told: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => told.push(JSON.parse(line)))
    await until(() => told.shift() === 'bound', 'the manager to listen')
    return { socket, told, end: () => child.kill() }
  }

  it('H8: is told when it is ready, reloads, is another process, and stops', async () => {
    const { socket, told, end } = await manager()
    const { generations } = await gateway({}, [], { NOTIFY_SOCKET: socket })
    await until(() => told.length === 1, 'READY')
    assert.equal(told.shift(), 'READY=1')

    generations.plan({ fault: 'crash' })
    await generations.failed()
    await until(() => told.length >= 2, 'the end of the reload')
    assert.match(told.shift() ?? '', /^RELOADING=1\nMONOTONIC_USEC=\d+$/)
    assert.equal(told.shift(), 'READY=1')

    generations.plan({ fault: undefined as never })
    const before = process.hrtime.bigint() / 1_000n
    const { pid } = await generations.replaced()
    await until(() => told.length === 2, 'the new main process')
    const [, time] = /MONOTONIC_USEC=(\d+)/.exec(told.shift() ?? '') ?? []
    assert.ok(BigInt(time ?? 0) >= before && BigInt(time ?? 0) <= process.hrtime.bigint() / 1_000n)
    assert.equal(told.shift(), `MAINPID=${pid}\nREADY=1`)

    process.kill(pid, 'SIGTERM')
    await until(() => told.length === 1, 'STOPPING')
    assert.equal(told.shift(), 'STOPPING=1')
    await until(() => !exists(pid), 'it to be gone')
    end()
    generations.end()
  })

  it('takes a socket that is passed to this very process, hands it on, and never shuts it', async () => {
    const held = createServer()
    await new Promise<void>((resolve) => held.listen(0, '127.0.0.1', resolve))
    const { port } = held.address() as AddressInfo
    const { fd } = (held as unknown as { _handle: { fd: number } })._handle
    for (const [passing, names, its] of [
      ['LISTEN_PID=$$', 'LISTEN_FDNAMES=web', true],
      ['LISTEN_PID=$$', 'LISTEN_FDNAMES=web.socket', true],
      ['LISTEN_PID=$$', '', true],
      ['LISTEN_PID=1', 'LISTEN_FDNAMES=web', false],
    ] as const) {
      const through = ['sh', '-c', `${passing} LISTEN_FDS=1 ${names} exec "$@"`, 'sh']
      const generations = new Generations(program, {}, { through, fds: [fd] })
      const { ports } = await generations.serving()
      assert.equal(ports?.web === port, its)
      const { pid } = await generations.replaced()
      const next = generations.lines.find((line) => line.pid === pid && line.phase === 'serving')
      assert.equal(next?.ports?.web, ports?.web)
      process.kill(pid, 'SIGTERM')
      await until(() => !exists(pid), 'it to be gone')
      generations.end()
    }
    // The manager may listen on it again.
    const greeted = new Promise((resolve) => held.once('connection', resolve))
    connect(port, '127.0.0.1')
      .on('error', () => {})
      .end()
    await greeted
    held.close()
  })
})
