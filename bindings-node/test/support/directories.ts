/** The directories under test, each behind the same interface. */
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { type Directory, MemoryDirectory } from '../../host/directory.js'
import { DirectoryServer, RemoteDirectory } from '../../host/directory-server.js'
import { RedisDirectory, type RedisDirectoryOptions } from '../../host/redis.js'
import type { RedisServer } from './redis.js'

export interface Opened extends AsyncDisposable {
  directory: Directory
}

export type Open = (options: { ttl?: number }) => Promise<Opened>

export const inMemory: Open = async (options) => ({
  directory: new MemoryDirectory(options),
  [Symbol.asyncDispose]: async () => {},
})

export const served: Open = async (options) => {
  const server = new DirectoryServer({ directory: new MemoryDirectory(options) })
  const directory = new RemoteDirectory({ port: await server.listen() })
  return {
    directory,
    [Symbol.asyncDispose]: async () => {
      directory.close()
      await server.close()
    },
  }
}

let prefixes = 0

/** A prefix of its own, so that tests can share one server. */
function withPrefix(options: RedisDirectoryOptions): RedisDirectoryOptions {
  prefixes += 1
  return { prefix: `{test-${prefixes}}`, ...options }
}

export function overIoredis(server: RedisServer): Open {
  return async (options) => {
    const client = ioredisOf(server)
    return {
      directory: new RedisDirectory(client, withPrefix(options)),
      [Symbol.asyncDispose]: async () => client.disconnect(),
    }
  }
}

export function overNodeRedis(server: RedisServer): Open {
  return async (options) => {
    const client = createClient({ socket: { host: '127.0.0.1', port: server.port } })
    client.on('error', () => {})
    await client.connect()
    return {
      directory: new RedisDirectory(client, withPrefix(options)),
      [Symbol.asyncDispose]: async () => client.destroy(),
    }
  }
}

export function ioredisOf(server: RedisServer): Redis {
  const client = new Redis({
    host: '127.0.0.1',
    port: server.port,
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
  })
  client.on('error', () => {})
  return client
}
