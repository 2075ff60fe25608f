import assert from 'node:assert/strict'
import { after, before, describe, it, test } from 'node:test'
import {
  type Directory,
  DirectoryUnavailable,
  MAX_EPOCH,
  MemoryDirectory,
  type Owned,
  type Owner,
} from '../host/directory.js'
import { RemoteDirectory } from '../host/directory-server.js'
import { type EffectOf, type InputOf, Machine } from '../host/machine.js'
import { RedisDirectory } from '../host/redis.js'
import {
  inMemory,
  ioredisOf,
  type Open,
  type Opened,
  overIoredis,
  overNodeRedis,
  served,
} from './support/directories.js'
import { RedisServer } from './support/redis.js'

const a: Owner = { machine: 'relay-a', incarnation: 1 }
const aLater: Owner = { machine: 'relay-a', incarnation: 2 }
const b: Owner = { machine: 'relay-b', incarnation: 1 }

let redis: RedisServer
before(async () => {
  redis = await RedisServer.start()
})
after(async () => {
  await redis[Symbol.asyncDispose]()
})

/** Registers with the epoch that a look gives, as a relay does. */
async function take(
  directory: Directory,
  host: string,
  owner: Owner,
  address = owner.machine,
): Promise<number> {
  const { epoch } = await directory.look(host)
  const answer = await directory.register({ host, owner, epoch, address })
  assert.equal(answer.type, 'registered')
  return answer.epoch
}

function conformance(name: string, open: Open): void {
  describe(`a directory ${name}`, () => {
    let opened: Opened
    let directory: Directory
    before(async () => {
      opened = await open({ ttl: 10_000 })
      directory = opened.directory
    })
    after(async () => {
      await opened[Symbol.asyncDispose]()
    })

    it('knows nothing about a host that it never saw', async () => {
      assert.deepEqual(await directory.look('never'), { type: 'vacant', epoch: 0 })
      const refused = { type: 'refused', refusal: 'no-row', epoch: 0 }
      assert.deepEqual(await directory.renew({ host: 'never', owner: a, epoch: 0 }), refused)
    })

    it('names the owner, its address and the epoch after a registration (R2)', async () => {
      const host = 'h-öst/1 2'
      const answer = await directory.register({ host, owner: a, address: 'http://[::1]:80/ä b' })
      assert.deepEqual(answer, { type: 'registered', epoch: 1 })
      const row = { type: 'owned', owner: a, address: 'http://[::1]:80/ä b', held: 1, epoch: 1 }
      assert.deepEqual(await directory.look(host), row)
    })

    it('lets the connection that looked later win, and a late retry of the earlier one change nothing (R2)', async () => {
      const host = 'late'
      await directory.register({ host, owner: a, epoch: 0, address: 'a' })
      assert.equal(await take(directory, host, b), 2)
      const row = await directory.look(host)
      const late = await directory.register({ host, owner: a, epoch: 0, address: 'a' })
      assert.deepEqual(late, { type: 'refused', refusal: 'stale-epoch', epoch: 2 })
      assert.equal((await directory.renew({ host, owner: a, epoch: 1 })).type, 'refused')
      assert.equal((await directory.unregister({ host, owner: a, epoch: 1 })).type, 'refused')
      assert.deepEqual(await directory.look(host), row)
    })

    it('answers the same registration once more as it did the first time (R2)', async () => {
      const command = { host: 'twice', owner: a, epoch: 0, address: 'a' }
      assert.deepEqual(await directory.register(command), { type: 'registered', epoch: 1 })
      assert.deepEqual(await directory.register(command), { type: 'registered', epoch: 1 })
      const other = await directory.register({ ...command, owner: b })
      assert.deepEqual(other, { type: 'refused', refusal: 'stale-epoch', epoch: 1 })
    })

    it('refuses another life of the same machine (R2)', async () => {
      const host = 'lives'
      await take(directory, host, aLater)
      const refused = { type: 'refused', refusal: 'other-owner', epoch: 1 }
      assert.deepEqual(await directory.renew({ host, owner: a, epoch: 1 }), refused)
      assert.deepEqual(await directory.unregister({ host, owner: a, epoch: 1 }), refused)
      assert.deepEqual(await directory.renew({ host, owner: aLater, epoch: 1 }), {
        type: 'renewed',
        epoch: 1,
      })
    })

    it('lets epochs grow over a removal (R2)', async () => {
      const host = 'grow'
      assert.equal(await take(directory, host, a), 1)
      assert.deepEqual(await directory.unregister({ host, owner: a, epoch: 1 }), {
        type: 'removed',
        epoch: 1,
      })
      const vacant = await directory.look(host)
      assert.ok(
        vacant.type === 'vacant' && vacant.epoch === 1 && vacant.since !== undefined && vacant.since < 5_000,
      )
      const late = await directory.register({ host, owner: b, epoch: 0, address: 'b' })
      assert.deepEqual(late, { type: 'refused', refusal: 'no-row', epoch: 1 })
      assert.equal(await take(directory, host, b), 2)
    })

    it('bars a registration that is taken back before it lands (R1, R2)', async () => {
      const host = 'barred'
      assert.deepEqual(await directory.unregister({ host, owner: a, epoch: 1 }), {
        type: 'removed',
        epoch: 1,
      })
      const late = await directory.register({ host, owner: a, epoch: 0, address: 'a' })
      assert.deepEqual(late, { type: 'refused', refusal: 'no-row', epoch: 1 })
    })

    it('clears the rows of exactly one life, and only those that are still its own (R3, D5)', async () => {
      const [own, other]: [Owner, Owner] = [
        { machine: 'clearing', incarnation: 7 },
        { machine: 'clearing', incarnation: 8 },
      ]
      for (const host of ['c1', 'c2', 'c3']) await take(directory, host, own)
      await take(directory, 'c4', other)
      await take(directory, 'c3', b)
      assert.equal(await directory.clearOwn(own), 2)
      assert.equal(await directory.clearOwn(own), 0)
      const types = []
      for (const host of ['c1', 'c2', 'c3', 'c4']) types.push((await directory.look(host)).type)
      assert.deepEqual(types, ['vacant', 'vacant', 'owned', 'owned'])
    })

    it('clears the rows of earlier lives of a machine, and neither its own nor later ones (R3)', async () => {
      const life = (incarnation: number): Owner => ({ machine: 'restarting', incarnation })
      for (const incarnation of [1, 2, 3, 4]) await take(directory, `e${incarnation}`, life(incarnation))
      await take(directory, 'e5', { machine: 'restarting-too', incarnation: 1 })
      assert.equal(await directory.clearEarlier(life(3)), 2)
      const types = []
      for (const n of [1, 2, 3, 4, 5]) types.push((await directory.look(`e${n}`)).type)
      assert.deepEqual(types, ['vacant', 'vacant', 'owned', 'owned', 'owned'])
    })

    it('clears thousands of rows in one call (R3)', async () => {
      const owner: Owner = { machine: 'many', incarnation: 1 }
      const hosts = Array.from({ length: 9_000 }, (_, n) => `many-${n}`)
      for (let first = 0; first < hosts.length; first += 500) {
        const some = hosts.slice(first, first + 500)
        await Promise.all(some.map((host) => directory.register({ host, owner, address: 'x' })))
      }
      assert.equal(await directory.clearOwn(owner), 9_000)
      assert.equal((await directory.look('many-8999')).type, 'vacant')
    })

    it('holds epochs and incarnations up to 2^53 - 1 exactly, and refuses what is beyond (R2)', async () => {
      const owner: Owner = { machine: 'big', incarnation: MAX_EPOCH }
      const host = 'big'
      const answer = await directory.register({ host, owner, epoch: MAX_EPOCH - 2, address: 'x' })
      assert.deepEqual(answer, { type: 'registered', epoch: MAX_EPOCH - 1 })
      const row = { type: 'owned', owner, address: 'x', held: MAX_EPOCH - 1, epoch: MAX_EPOCH - 1 }
      assert.deepEqual(await directory.look(host), row)
      assert.equal(
        (await directory.register({ host, owner: b, epoch: MAX_EPOCH - 3, address: 'y' })).type,
        'refused',
      )
      assert.equal(await directory.clearEarlier(owner), 0)
      assert.equal(await directory.clearOwn({ ...owner, incarnation: MAX_EPOCH - 1 }), 0)
      assert.equal(await directory.clearOwn(owner), 1)
      for (const epoch of [MAX_EPOCH, 1.5, -1, Number.NaN]) {
        await assert.rejects(directory.register({ host, owner, epoch, address: 'x' }), RangeError)
      }
      await assert.rejects(directory.look(''), RangeError)
      await assert.rejects(directory.clearOwn({ machine: '', incarnation: 1 }), RangeError)
    })

    it('waits for the row of a host that is between relays (R4)', async () => {
      const host = 'moving'
      const epoch = await take(directory, host, a)
      const [here, moved] = [
        await directory.waitFor(host, { within: 5_000 }),
        directory.waitFor(host, { within: 5_000, after: epoch }),
      ]
      assert.equal(here?.owner.machine, 'relay-a')
      await take(directory, host, b)
      const row = (await moved) as Owned
      assert.deepEqual([row.owner, row.held], [b, epoch + 1])
    })

    it('waits no longer than it is told to (R4)', async () => {
      const begin = performance.now()
      assert.equal(await directory.waitFor('nowhere', { within: 60 }), undefined)
      const waited = performance.now() - begin
      assert.ok(waited >= 55 && waited < 2_000, `${waited}`)
      const abort = new AbortController()
      const cut = directory.waitFor('nowhere', { within: 60_000, signal: abort.signal })
      abort.abort()
      assert.equal(await cut, undefined)
    })

    it('wakes everyone who waits for the same host (R4)', async () => {
      const waits = [1, 2, 3].map(() => directory.waitFor('awaited', { within: 5_000 }))
      await take(directory, 'awaited', b)
      for (const row of await Promise.all(waits)) assert.equal(row?.owner.machine, 'relay-b')
    })

    it('lets a row live for a TTL past its last renew, and no longer (R2)', async () => {
      const short = await open({ ttl: 300 })
      try {
        const { directory } = short
        const begin = performance.now()
        await take(directory, 'kept', a)
        await take(directory, 'lost', b)
        while (performance.now() - begin < 450) {
          await directory.renew({ host: 'kept', owner: a, epoch: 1 })
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        assert.equal((await directory.look('kept')).type, 'owned')
        const lost = await directory.look('lost')
        assert.ok(lost.type === 'vacant' && lost.epoch === 1)
        assert.ok(lost.since !== undefined && lost.since >= 1 && lost.since < 5_000, `${lost.since}`)
        const answer = await directory.renew({ host: 'lost', owner: b, epoch: 1 })
        assert.deepEqual(answer, { type: 'refused', refusal: 'no-row', epoch: 1 })
        assert.equal(await directory.clearOwn(b), 0)
        assert.equal(await take(directory, 'lost', b), 2)
      } finally {
        await short[Symbol.asyncDispose]()
      }
    })
  })
}

conformance('in memory', inMemory)
conformance('served over TCP', served)
conformance('in Redis, over ioredis', (options) => overIoredis(redis)(options))
conformance('in Redis, over node-redis', (options) => overNodeRedis(redis)(options))

function disposable(client: ReturnType<typeof ioredisOf>): typeof client & Disposable {
  return Object.assign(client, { [Symbol.dispose]: () => client.disconnect() })
}

describe('a directory in Redis', () => {
  it('sends what comes in one turn in a few scripts, and answers each command for itself (R2)', async () => {
    using client = disposable(ioredisOf(redis))
    let scripts = 0
    const counted = {
      eval: client.eval.bind(client),
      evalsha: (...rest: Parameters<typeof client.evalsha>) => {
        scripts += 1
        return client.evalsha(...rest)
      },
    } as typeof client
    const directory = new RedisDirectory(counted, { prefix: '{batch}' })
    const owner = { machine: 'm', incarnation: 1 }
    const hosts = Array.from({ length: 1_000 }, (_, n) => `h${n}`)
    const taken = { machine: 'other', incarnation: 1 }
    await directory.register({ host: 'h500', owner: taken, epoch: 6, address: 'there' })
    scripts = 0
    const answers = await Promise.all(
      hosts.map((host) => directory.register({ host, owner, epoch: 0, address: 'here' })),
    )
    assert.ok(scripts <= 10, `${scripts} scripts`)
    const refused = answers.filter(({ type }) => type === 'refused')
    assert.deepEqual(refused, [{ type: 'refused', refusal: 'stale-epoch', epoch: 7 }])
    const rows = await Promise.all(hosts.map((host) => directory.look(host)))
    for (const [n, row] of rows.entries()) {
      assert.deepEqual(row.type === 'owned' && row.owner, n === 500 ? taken : owner, `h${n}`)
    }
  })

  it('answers any script of commands as the core does (R2, R3)', async () => {
    using client = disposable(ioredisOf(redis))
    let random = 12345
    const draw = (below: number): number => {
      random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff
      return Math.floor((random / 0x80000000) * below)
    }
    const seen = new Set<string>()
    for (let script = 0; script < 120; script += 1) {
      const prefix = `{differential-${script}}`
      const directory = new RedisDirectory(client, { prefix })
      const ttl = 90_000
      let now = 0
      let answer: EffectOf<'directory'> | undefined
      const row = new Machine('directory', {
        config: { ttl },
        clock: () => now,
        unref: true,
        perform: (effect) => {
          answer = effect
        },
      })
      const core = (input: InputOf<'directory'>): EffectOf<'directory'> => {
        row.send(input)
        assert.ok(answer)
        return answer
      }
      for (let step = 0; step < 40; step += 1) {
        const machine = 1 + draw(2)
        const incarnation = 1 + draw(3)
        const owner: Owner = { machine: `m${machine}`, incarnation }
        const life = { machine, incarnation }
        const epoch = draw(6)
        const host = 'h'
        const command = { host, owner, epoch }
        const kind = draw(8)
        let [expected, actual]: unknown[] = []
        if (kind <= 1) {
          expected = core({ type: 'register', ...life, epoch })
          actual = await directory.register({ ...command, address: 'x' })
        } else if (kind === 2) {
          expected = core({ type: 'renew', ...life, epoch })
          actual = await directory.renew(command)
        } else if (kind === 3) {
          expected = core({ type: 'unregister', ...life, epoch })
          actual = await directory.unregister(command)
        } else if (kind === 4) {
          expected = core({ type: 'clear-own', ...life }).type === 'removed' ? 1 : 0
          actual = await directory.clearOwn(owner)
        } else if (kind === 5) {
          expected = core({ type: 'clear-earlier', ...life }).type === 'removed' ? 1 : 0
          actual = await directory.clearEarlier(owner)
        } else if (kind === 6) {
          // The row expires: in the store by moving its end into the past.
          now += ttl
          row.tick()
          const value = await client.hget(`${prefix}:rows`, host)
          if (value) {
            const past = Date.now() - 1
            await client.hset(`${prefix}:rows`, host, value.replace(/^\d+/, `${past}`))
            await client.zadd(`${prefix}:ends`, past, host)
          }
          expected = actual = undefined
        } else {
          const look = core({ type: 'look' })
          const found = await directory.look(host)
          expected =
            look.type === 'owner'
              ? [`m${look.machine}`, look.incarnation, look.epoch]
              : [look.type, 'epoch' in look && look.epoch]
          actual =
            found.type === 'owned'
              ? [found.owner.machine, found.owner.incarnation, found.epoch]
              : ['nobody', found.epoch]
        }
        const type = typeof expected === 'object' && expected && 'type' in expected ? expected : undefined
        seen.add(
          `${kind} ${type ? `${(type as { type: string }).type} ${(type as { refusal?: string }).refusal}` : ''}`,
        )
        assert.deepEqual(actual, expected, `script ${script}, step ${step}`)
      }
      row.close()
    }
    // Every kind of answer came up, or the comparison proves less than it says.
    for (const kind of [
      '0 registered',
      '0 refused stale-epoch',
      '0 refused no-row',
      '2 renewed',
      '2 refused other-owner',
    ]) {
      assert.ok(
        [...seen].some((answer) => answer.startsWith(kind)),
        `never seen: ${kind}`,
      )
    }
  })

  it('sends a script in full when the server has lost it', async () => {
    using client = disposable(ioredisOf(redis))
    const directory = new RedisDirectory(client, { prefix: '{flushed}' })
    await take(directory, 'h', a)
    await client.script('FLUSH')
    assert.equal(await take(directory, 'h', b), 2)
  })

  it('keeps all its keys under one hash tag, and none longer than a row or its memory lives', async () => {
    using client = disposable(ioredisOf(redis))
    const options = { prefix: '{tag}', ttl: 200, remember: 400 }
    const directory = new RedisDirectory(client, options)
    await take(directory, 'h', a)
    const keys = await client.keys('{tag}*')
    assert.ok(keys.length === 5 && keys.every((key) => key.startsWith('{tag}:')), `${keys}`)
    for (const key of keys) assert.ok((await client.pttl(key)) > 0, key)
    let left = keys
    while (left.length > 0) left = await client.keys('{tag}*')
  })

  it('sweeps the rows that a crashed relay left, by the writes of the others (R2)', async () => {
    using client = disposable(ioredisOf(redis))
    const crashed = new RedisDirectory(client, { prefix: '{sweep}', ttl: 400 })
    const living = new RedisDirectory(client, { prefix: '{sweep}', ttl: 60_000 })
    await take(living, 'alive', b)
    await Promise.all(Array.from({ length: 100 }, (_, n) => take(crashed, `dead-${n}`, a)))
    assert.equal(await client.hlen('{sweep}:rows'), 101)
    while ((await crashed.look('dead-99')).type === 'owned') await new Promise((next) => setImmediate(next))
    for (let n = 0; n < 2; n += 1) await living.renew({ host: 'alive', owner: b, epoch: 1 })
    assert.equal(await client.hlen('{sweep}:rows'), 1)
  })

  it('forgets a host that has been away for long', async () => {
    using client = disposable(ioredisOf(redis))
    const directory = new RedisDirectory(client, { prefix: '{forget}', ttl: 60_000, remember: 50 })
    await take(directory, 'old', a)
    await directory.unregister({ host: 'old', owner: a, epoch: 1 })
    while ((await directory.look('old')).epoch !== 0) await take(directory, 'busy', a)
  })

  it('refuses a client that it does not know', () => {
    assert.throws(() => new RedisDirectory({} as never), TypeError)
  })

  it('fails in its time, by name, while Redis is frozen or gone, and works again afterwards', async () => {
    await using own = await RedisServer.start()
    using client = disposable(ioredisOf(own))
    const directory = new RedisDirectory(client, { commandTimeout: 100 })
    await take(directory, 'h', a)
    own.freeze()
    const begin = performance.now()
    await assert.rejects(directory.look('h'), (error) => {
      assert.ok(error instanceof DirectoryUnavailable && error.code === 'directory-unavailable')
      assert.match(error.message, /cannot look hosts up: no answer within 100 ms/)
      return true
    })
    assert.ok(performance.now() - begin < 1_000)
    const waiting = directory.waitFor('h', { within: 10_000, after: 1 })
    await assert.rejects(directory.waitFor('h', { within: 250, after: 1 }), DirectoryUnavailable)
    own.thaw()
    assert.equal((await directory.renew({ host: 'h', owner: a, epoch: 1 })).type, 'renewed')
    await own.kill()
    await assert.rejects(directory.renew({ host: 'h', owner: a, epoch: 1 }), DirectoryUnavailable)
    await own.run()
    // The rows are lost: a live owner registers again with the epoch that it knows, and waiters get it.
    const answer = await directory.register({ host: 'h', owner: a, epoch: 1, address: 'x' })
    assert.deepEqual(answer, { type: 'registered', epoch: 2 })
    assert.equal((await waiting)?.held, 2)
  })
})

describe('a directory that is served', () => {
  it('says that it is away when nobody listens', async () => {
    const remote = new RemoteDirectory({ port: 1, commandTimeout: 500 })
    await assert.rejects(remote.look('h'), DirectoryUnavailable)
    await assert.rejects(remote.waitFor('h', { within: 100 }), DirectoryUnavailable)
    remote.close()
  })
})

test('a directory in memory refuses a TTL that cannot work', () => {
  assert.throws(() => new MemoryDirectory({ ttl: 0 }), { code: 'bad-config' })
})
