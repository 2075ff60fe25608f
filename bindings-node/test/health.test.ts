import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe, it } from 'node:test'
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import type { Lifecycle } from '../host/index.js'
import { get, listen, quick, until } from './lifecycle/support.js'

/** Every way to mount the handler, on a port that outlives the drain. */
const mounts: [name: string, mount: (life: Lifecycle) => Promise<{ port: number; close: () => unknown }>][] =
  [
    [
      'node:http',
      async (life) => {
        const server = createServer((request, response) => {
          if (!life.health(request, response)) response.writeHead(404).end('app')
        })
        return { port: await listen(server), close: () => server.close() }
      },
    ],
    [
      'express',
      async (life) => {
        const app = express()
        app.use(life.health)
        app.get('/other', (_request, response) => void response.status(404).send('app'))
        const server = createServer(app)
        return { port: await listen(server), close: () => server.close() }
      },
    ],
    [
      'express under a mount point',
      async (life) => {
        const app = express()
        app.use('/readyz', life.health).use('/livez', life.health)
        app.get('/other', (_request, response) => void response.status(404).send('app'))
        const server = createServer(app)
        return { port: await listen(server), close: () => server.close() }
      },
    ],
    [
      'fastify',
      async (life) => {
        const app = fastify()
        app.get('/readyz', (request, reply) => void life.health(request, reply))
        app.get('/livez', (request, reply) => void life.health(request, reply))
        app.get('/other', (_request, reply) => void reply.code(404).send('app'))
        await app.listen({ port: 0, host: '127.0.0.1' })
        return { port: (app.server.address() as { port: number }).port, close: () => app.close() }
      },
    ],
    [
      'koa',
      async (life) => {
        const app = new Koa()
        app.use((context) => {
          const answer = life.probe(context.path)
          context.status = answer?.status ?? 404
          context.body = answer?.body ?? 'app'
        })
        const server = createServer(app.callback())
        return { port: await listen(server), close: () => server.close() }
      },
    ],
  ]

describe('health probes', () => {
  for (const [name, mount] of mounts) {
    it(`D3: not ready before the start and from the stop on, but live until stopped (${name})`, async (t) => {
      const life = quick({ lameDuck: 60_000, killBudget: 100_000 })
      const { port, close } = await mount(life)
      t.after(close)
      const both = async () => [(await get(port, '/readyz')).status, (await get(port, '/livez')).status]
      assert.deepEqual(await both(), [503, 200])
      life.start()
      assert.deepEqual(await both(), [200, 200])
      void life.stop()
      assert.deepEqual(await both(), [503, 200])
      assert.equal((await get(port, '/readyz')).body, 'not ready: lame-duck\n')
      assert.equal((await get(port, '/other')).body, 'app')
      await life.force()
      assert.deepEqual(await both(), [503, 503])
    })
  }

  it('says which check it was with ?verbose, and nothing to cache', async () => {
    const life = quick()
    const server = createServer((request, response) => void life.health(request, response))
    const port = await listen(server)
    life.start()
    const answer = await get(port, '/readyz?verbose')
    assert.equal(answer.body, '[+]lifecycle serving\nreadyz check passed\n')
    assert.equal(answer.headers['cache-control'], 'no-store')
    void life.stop()
    await until(() => life.phase === 'stopped', 'the end')
    assert.equal(
      (await get(port, '/livez?verbose')).body,
      '[-]lifecycle stopped\nlivez check not live: stopped\n',
    )
  })
})
