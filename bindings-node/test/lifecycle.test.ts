import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { Agent, createServer } from 'node:http'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { ConfigError } from '../host/errors.js'
import { type DrainSource, Lifecycle } from '../host/index.js'
import { native } from '../host/native.js'
import { get, listen, phasesOf, quick, slowServer, until } from './lifecycle/support.js'

/** A source whose numbers the test sets. */
function fake(numbers: { tunnels?: number; told?: number } = {}) {
  const calls: string[] = []
  let changed = () => {}
  const source: DrainSource = {
    name: 'fake',
    count: () => numbers.tunnels ?? 0,
    told: () => numbers.told ?? 0,
    onChange: (given) => {
      changed = given
    },
    lameDuck: () => void calls.push('lameDuck'),
    refuseNew: () => void calls.push('refuseNew'),
    tell: (count) => {
      calls.push(`tell ${count}`)
      numbers.told = (numbers.told ?? 0) + count
      changed()
    },
    clearRows: async () => void calls.push('clearRows'),
    closeAll: (code) => {
      calls.push(`closeAll ${code}`)
      numbers.tunnels = 0
      numbers.told = 0
      changed()
    },
    closePeerDoor: () => void calls.push('closePeerDoor'),
    abort: (code) => {
      calls.push(`abort ${code}`)
      const cut = numbers.tunnels ?? 0
      numbers.tunnels = 0
      numbers.told = 0
      changed()
      return cut
    },
  }
  return { source, calls, numbers, changed: () => changed() }
}

describe('a lifecycle', () => {
  it('D1: goes through its phases in order and never back', async () => {
    const life = quick()
    const phases = phasesOf(life)
    assert.equal(life.phase, 'starting')
    life.start()
    assert.equal(life.phase, 'serving')
    await life.stop()
    assert.deepEqual(phases, ['serving', 'lame-duck', 'draining', 'releasing', 'stopped'])
  })

  it('D2: a second begin raises the intent and does not lower it', async () => {
    const { server, port, release, waiting } = await slowServer()
    const life = quick().http(server)
    life.start()
    const slow = get(port, '/slow')
    await until(() => waiting.length === 1, 'the request to arrive')
    void life.stop('restart')
    void life.stop('decommission')
    void life.stop('idle')
    release()
    await slow
    assert.equal((await life.stopped).intent, 'decommission')
  })

  it('D2: a stop before the start is not lost, and nothing was ever ready', async () => {
    const life = quick()
    const readiness: boolean[] = []
    life.on('readiness', ({ ready }) => readiness.push(ready))
    let released = false
    life.release('release', () => {
      released = true
    })
    void life.stop('restart')
    assert.equal(life.stopping.aborted, true)
    life.start()
    const { exitCode } = await life.stopped
    assert.deepEqual({ readiness, released, exitCode }, { readiness: [], released: true, exitCode: 0 })
  })

  it('D2: a stop during boot tells it, waits for it, and then stops', async () => {
    const life = quick({ exit: false })
    const order: string[] = []
    life.release('release', () => order.push('released'))
    const running = life.run(async (signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      order.push('boot ended')
      throw signal.reason
    })
    await life.stop('restart')
    await running
    assert.deepEqual(order, ['boot ended', 'released'])
  })

  it('D2: a request that came in before the start was stopped is still answered', async () => {
    const { server, port, release, waiting } = await slowServer()
    const life = quick().http(server)
    const slow = get(port, '/slow')
    await until(() => waiting.length === 1, 'the request to arrive')
    void life.stop()
    life.start()
    await until(() => !server.listening, 'the door to close')
    release()
    assert.equal((await slow).body, 'slow')
    const { drained, forced } = await life.stopped
    assert.deepEqual({ drained, forced }, { drained: 1, forced: 0 })
  })

  it('a boot that fails releases everything, and its error is the one that comes out', async () => {
    const life = quick({ exit: false })
    let released = false
    life.release('release', () => {
      released = true
    })
    const boot = () => {
      throw new Error('no database')
    }
    await assert.rejects(life.run(boot), /no database/)
    assert.equal(released, true)
    assert.equal(life.phase, 'stopped')
  })

  it('D3: is not ready, un-routes and says `Connection: close` while it still accepts', async () => {
    const { server, port } = await slowServer()
    const life = quick({ lameDuck: 300 }).http(server)
    const readyAtUnroute: boolean[] = []
    life.unroute('directory', () => readyAtUnroute.push(life.ready))
    life.start()
    const agent = new Agent({ keepAlive: true })
    assert.notEqual((await get(port, '/', agent)).headers.connection, 'close')
    void life.stop()
    assert.equal(life.phase, 'lame-duck')
    const answer = await get(port, '/')
    assert.deepEqual([answer.status, answer.headers.connection], [200, 'close'])
    assert.equal(life.phase, 'lame-duck')
    assert.deepEqual(readyAtUnroute, [false])
    await life.stopped
    await assert.rejects(get(port), /ECONNREFUSED/)
    agent.destroy()
  })

  it('D4: the public door closes before a tunnel is told, the peers’ after the last has gone', async () => {
    const { source, calls } = fake({ tunnels: 3 })
    const life = quick({ flush: 50 }).tunnels(source)
    life.start()
    await life.stop()
    assert.deepEqual(calls, [
      'lameDuck',
      'refuseNew',
      'tell 3',
      'clearRows',
      'closeAll 1012',
      'closePeerDoor',
    ])
  })

  it('D4: a peer door goes on accepting until the last tunnel has gone', async () => {
    const publicServer = await slowServer()
    const peerServer = await slowServer()
    const { source, numbers, changed } = fake({ tunnels: 1 })
    source.closeAll = () => {}
    const agent = new Agent({ keepAlive: true })
    let peerConnections = 0
    peerServer.server.on('connection', () => {
      peerConnections += 1
    })
    // Time enough on any machine: nothing here is to end by its deadline.
    const life = quick({ flush: 50, grace: 60_000, killBudget: 90_000 })
      .http(publicServer.server)
      .http(peerServer.server, { door: 'peer' })
      .tunnels(source)
    life.start()
    const publicConnection = connect(publicServer.port, '127.0.0.1')
    publicConnection.resume()
    await once(publicServer.server, 'connection')
    void life.stop()
    await until(() => !publicServer.server.listening, 'the public door to close')
    assert.equal((await get(peerServer.port, '/', agent)).status, 200)
    // Idle connections of peers live as long as the tunnels that they are for; those of clients do not.
    await until(() => publicConnection.destroyed, 'the idle client to be closed')
    assert.equal((await get(peerServer.port, '/', agent)).status, 200)
    assert.equal(peerConnections, 1)
    numbers.tunnels = 0
    numbers.told = 0
    changed()
    await life.stopped
    assert.equal(peerServer.server.listening, false)
    agent.destroy()
  })

  it('D4: a peer door is closed when the stop is over, whether there were tunnels or not', async () => {
    const { server } = await slowServer()
    const life = quick().http(server, { door: 'peer' })
    life.start()
    await life.stop()
    assert.equal(server.listening, false)
  })

  it('D4: an idle connection is kept past the minimum age, an active one until its response', async () => {
    const { server, port, release, waiting } = await slowServer()
    const life = quick({ minIdleAge: 150 }).http(server)
    life.start()
    const agent = new Agent({ keepAlive: true })
    await get(port, '/', agent)
    const slow = get(port, '/slow')
    await until(() => waiting.length === 1, 'the slow request to arrive')
    void life.stop()
    await until(() => !server.listening, 'the door to close')
    // The idle connection is young: a request on it is not lost.
    assert.equal((await get(port, '/', agent)).status, 200)
    release()
    assert.equal((await slow).body, 'slow')
    const outcome = await life.stopped
    assert.deepEqual([outcome.forced, outcome.abandoned, outcome.exitCode], [0, 0, 0])
    agent.destroy()
  })

  it('D4: a connection that stays idle is closed past the minimum age, and the stop waits for it', async () => {
    const { server, port } = await slowServer()
    const life = quick({ minIdleAge: 200 }).http(server)
    life.start()
    const agent = new Agent({ keepAlive: true })
    const answered = get(port, '/', agent)
    const answeredAt = performance.now()
    await answered
    const outcome = await life.stop()
    const idleFor = performance.now() - answeredAt
    assert.ok(idleFor >= 200, `${idleFor} ms`)
    assert.equal(outcome.forced, 0)
    agent.destroy()
  })

  it('D4: long streams are told to end when draining starts', async () => {
    const life = quick()
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.write('data: 1\n\n')
      life.stream(response, () => response.end('data: bye\n\n'))
    })
    const port = await listen(server)
    life.http(server).start()
    const stream = get(port)
    await until(() => life.counters().streams === 1, 'the stream to be open')
    const outcome = await life.stop()
    assert.match((await stream).body, /bye/)
    let ended = false
    life.stream({ end: () => {}, once: () => {} }, () => {
      ended = true
    })
    assert.equal(ended, true, 'a stream that comes later is ended at once')
    assert.equal(outcome.forced, 0)
  })

  it('D6: with nothing to wait for it stops at once', async () => {
    const took: number[] = []
    // A busy machine may be slow once, and is not each time.
    for (let time = 0; time < 5; time += 1) {
      const life = quick()
      life.start()
      const begun = performance.now()
      await life.stop()
      took.push(performance.now() - begun)
    }
    assert.ok(Math.min(...took) < 100, `${took}`)
  })

  it('D7: cuts what is left at the deadline, counts it, and says so in the exit code', async () => {
    const { server, port, waiting } = await slowServer()
    const life = quick({ grace: 300 }).http(server)
    life.start()
    const slow = get(port, '/slow').catch((error: Error) => error)
    await until(() => waiting.length === 1, 'the request to arrive')
    const begun = performance.now()
    const outcome = await life.stop()
    assert.ok(performance.now() - begun >= 300)
    assert.ok((await slow) instanceof Error)
    assert.deepEqual([outcome.forced, outcome.exitCode], [1, 4])
  })

  it('D7: a force cuts now, and release steps still run', async () => {
    const { server, port, waiting } = await slowServer()
    const life = quick().http(server)
    let released = false
    life.release('release', () => {
      released = true
    })
    life.start()
    const slow = get(port, '/slow').catch((error: Error) => error)
    await until(() => waiting.length === 1, 'the request to arrive')
    void life.stop()
    const outcome = await life.force()
    assert.ok((await slow) instanceof Error)
    assert.deepEqual([outcome.forced, outcome.exitCode, released], [1, 4, true])
    assert.ok(outcome.duration < 1_000)
  })

  it('D7: a force without a stop begins one', async () => {
    const life = quick()
    life.start()
    assert.equal((await life.force()).intent, 'restart')
  })

  it('D8: release steps run in order, one at a time', async () => {
    const life = quick()
    const order: string[] = []
    for (const name of ['first', 'second', 'third']) {
      life.release(name, async () => {
        order.push(`${name} begins`)
        await new Promise(setImmediate)
        order.push(`${name} ends`)
      })
    }
    life.start()
    await life.stop()
    assert.deepEqual(
      order,
      ['first', 'second', 'third'].flatMap((name) => [`${name} begins`, `${name} ends`]),
    )
  })

  it('D8: a failing step and a hanging step are reported by name, and the others run', async () => {
    const life = quick()
    const failed: string[] = []
    life.on('stepFailed', ({ step, timedOut }) => failed.push(`${step} ${timedOut}`))
    let signal: AbortSignal | undefined
    const ran: string[] = []
    life.release('throws', () => {
      throw new Error('disk full')
    })
    life.release(
      'hangs',
      (context) => {
        signal = context.signal
        return new Promise(() => {})
      },
      { timeout: 80 },
    )
    life.release('works', () => ran.push('works'))
    life.start()
    const outcome = await life.stop()
    assert.deepEqual(failed, ['throws false', 'hangs true'])
    assert.deepEqual(ran, ['works'])
    assert.equal(signal?.aborted, true)
    assert.match(String(signal?.reason), /TimeoutError/)
    assert.equal(outcome.exitCode, 3)
    assert.deepEqual(
      outcome.failedSteps.map(({ step }) => step),
      ['throws', 'hangs'],
    )
    assert.match(String(outcome.failedSteps[0]?.error), /disk full/)
  })

  it('D8: a step is tried again inside its limit', async () => {
    const life = quick()
    const attempts: number[] = []
    life.release(
      'flush',
      ({ attempt }) => {
        attempts.push(attempt)
        if (attempt < 3) throw new Error('not yet')
      },
      { timeout: 500, attempts: 3 },
    )
    life.start()
    const outcome = await life.stop()
    assert.deepEqual(attempts, [1, 2, 3])
    assert.equal(outcome.exitCode, 0)
  })

  it('D5: rows that cannot be cleared are reported, and the tunnels are closed all the same', async () => {
    const { source, calls } = fake({ tunnels: 2 })
    source.clearRows = async () => {
      calls.push('clearRows')
      throw new Error('redis is away')
    }
    const life = quick({ flush: 20 }).tunnels(source)
    const errors: unknown[] = []
    life.on('hookFailed', ({ error }) => errors.push(error))
    life.start()
    const outcome = await life.stop()
    assert.equal(outcome.rowsLeft, true)
    assert.equal(outcome.exitCode, 3)
    assert.ok(calls.includes('closeAll 1012'))
    assert.match(String(errors[0]), /redis is away/)
  })

  it('D9: refuses a budget that cannot work, with the sum and every other fault', () => {
    const life = quick({ lameDuck: '2s', grace: '28s', killBudget: '30s', restartCode: 1005 })
    life.release('flush', () => {}, { timeout: '5s' })
    assert.throws(
      () => life.start(),
      (error) => {
        assert.ok(error instanceof ConfigError)
        assert.deepEqual(
          error.faults.map(({ field }) => field),
          ['killBudget', 'restartCode'],
        )
        assert.match(error.message, /2000.*28000.*5000.*1000/s)
        return true
      },
    )
    assert.equal(life.phase, 'starting')
  })

  it('D9: names every duration that it cannot read', () => {
    assert.throws(
      () => new Lifecycle({ signals: false, grace: '20 seconds' as never, flush: -1 }),
      (error) => {
        assert.ok(error instanceof ConfigError)
        assert.deepEqual(
          error.faults.map(({ field }) => field),
          ['grace', 'flush'],
        )
        return true
      },
    )
  })

  it('D9: a step after the start is refused, as the budget was checked without it', async () => {
    const life = quick()
    life.start()
    assert.throws(() => life.release('late', () => {}), /after start/)
    await life.stop()
  })

  it('D10: the outcome counts what drained', async () => {
    const { server, port, release, waiting } = await slowServer()
    const life = quick({ restartExitCode: 75 }).http(server)
    life.start()
    const requests = [get(port, '/slow'), get(port, '/slow')]
    await until(() => waiting.length === 2, 'the requests to arrive')
    void life.stop('restart')
    await until(() => life.phase === 'draining', 'draining')
    await until(() => !server.listening, 'the door to close')
    release()
    await Promise.all(requests)
    const { drained, forced, abandoned, exitCode, intent } = await life.stopped
    assert.deepEqual(
      { drained, forced, abandoned, exitCode, intent },
      { drained: 2, forced: 0, abandoned: 0, exitCode: 75, intent: 'restart' },
    )
  })

  it('a listener, a hook or a source that throws does not break the drain', async () => {
    const { source } = fake({ tunnels: 1 })
    source.lameDuck = () => {
      throw new Error('lame duck hook')
    }
    source.tell = () => {
      throw new Error('tell hook')
    }
    const life = quick({ flush: 20 }).tunnels(source)
    const seen: string[] = []
    life.on('phase', () => {
      throw new Error('listener')
    })
    life.on('phase', async () => {
      throw new Error('async listener')
    })
    life.on('phase', ({ phase }) => seen.push(phase))
    const failures: string[] = []
    const errors: string[] = []
    life.on('hookFailed', ({ hook, error }) => {
      failures.push(hook)
      errors.push(String(error))
      throw new Error('even this one')
    })
    life.start()
    const outcome = await life.stop()
    assert.equal(outcome.exitCode, 0)
    assert.deepEqual(seen.slice(0, 3), ['serving', 'lame-duck', 'draining'])
    assert.ok(failures.includes('fake lameDuck'))
    assert.ok(failures.includes('fake tell'))
    assert.ok(failures.includes('listener of "phase"'))
    await until(() => errors.includes('Error: async listener'), 'the rejection to be reported')
    assert.equal(life.counters().hookFailures > failures.length, true)
  })

  it('publishes its events on diagnostics channels', async () => {
    const seen: string[] = []
    const onPhase = (message: unknown) => void seen.push((message as { phase: string }).phase)
    const onStopped = (message: unknown) =>
      void seen.push(`exit ${(message as { exitCode: number }).exitCode}`)
    subscribe('tidegate:phase', onPhase)
    subscribe('tidegate:stopped', onStopped)
    const life = quick()
    life.start()
    await life.stop()
    unsubscribe('tidegate:phase', onPhase)
    unsubscribe('tidegate:stopped', onStopped)
    assert.deepEqual(seen, ['serving', 'lame-duck', 'draining', 'releasing', 'stopped', 'exit 0'])
  })

  it('explains why it is where it is, also before the start and after the end', async () => {
    const { server, port, waiting, release } = await slowServer()
    const life = quick().http(server)
    assert.match(life.explain().because, /start\(\)/)
    life.start()
    const slow = get(port, '/slow')
    await until(() => waiting.length === 1, 'the request to arrive')
    void life.stop()
    await until(() => life.phase === 'draining', 'draining')
    const { state, sources, next } = life.explain()
    assert.deepEqual([state, sources[0]?.requests], ['draining', 1])
    assert.ok(next)
    release()
    await slow
    await life.stopped
    assert.equal(life.explain().state, 'stopped')
  })

  it('serves without one crossing of the boundary per request', async () => {
    const { server, port } = await slowServer()
    const life = quick().http(server)
    life.start()
    const calls = native as unknown as Record<string, (...args: unknown[]) => unknown>
    let crossings = 0
    const originals = { ...calls }
    for (const [name, call] of Object.entries(originals)) {
      calls[name] = (...args) => {
        crossings += 1
        return call(...args)
      }
    }
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    await Promise.all(Array.from({ length: 500 }, () => get(port, '/', agent)))
    assert.equal(crossings, 0)
    const stopping = life.stop()
    assert.ok(crossings > 0)
    agent.destroy()
    await stopping
    Object.assign(calls, originals)
  })

  it('sends at most one load in a turn of the event loop', async () => {
    const { source, numbers, changed } = fake({ tunnels: 1 })
    source.tell = () => {}
    let loads = 0
    const life = quick().tunnels(source)
    life.start()
    void life.stop()
    await until(() => life.phase === 'draining', 'draining')
    await new Promise(setImmediate)
    const original = source.count
    source.count = () => {
      loads += 1
      return original()
    }
    for (let index = 0; index < 100; index += 1) {
      numbers.tunnels = 100 - index
      changed()
    }
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    assert.equal(loads, 1)
    numbers.tunnels = 0
    changed()
    await life.stopped
  })

  it('a source that joins while it drains is drained as well', async () => {
    const { server, port, release, waiting } = await slowServer()
    const life = quick().http(server)
    life.start()
    const slow = get(port, '/slow')
    await until(() => waiting.length === 1, 'the request to arrive')
    void life.stop()
    await until(() => life.phase === 'draining', 'draining')
    const late = fake({})
    life.tunnels(late.source)
    assert.deepEqual(late.calls, ['lameDuck', 'refuseNew'])
    release()
    await slow
    await life.stopped
  })

  it('disposes of itself', async () => {
    let life: Lifecycle
    {
      await using inner = quick()
      life = inner
      inner.start()
    }
    assert.equal(life.phase, 'stopped')
  })

  it('a peer that stopped reading delays the stop no further than the deadline', async () => {
    const server = createServer((_request, response) => void response.end(Buffer.alloc(64 << 20)))
    const port = await listen(server)
    const life = quick({ grace: 400 }).http(server)
    life.start()
    const deaf = connect(port, '127.0.0.1')
    deaf.on('error', () => {})
    deaf.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    deaf.pause()
    await until(() => life.counters().requests === 1, 'the request to arrive')
    const outcome = await life.stop()
    assert.equal(outcome.forced, 1)
    deaf.destroy()
  })
})
