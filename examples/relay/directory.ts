/** Which directory the relays share: a URL says it. */
import type { Directory } from 'tidegate'
import { RemoteDirectory } from 'tidegate/directory-server'
import { RedisDirectory } from 'tidegate/redis'

/** @param url `redis://host:port`, or `tcp://127.0.0.1:port` for the directory that the demo's runner serves. */
export async function connectDirectory(url: string): Promise<Directory> {
  const { protocol, hostname, port } = new URL(url)
  if (protocol !== 'redis:') return new RemoteDirectory({ address: hostname, port: Number(port) })
  const { Redis } = await import('ioredis')
  const redis = new Redis(url, { maxRetriesPerRequest: 1 })
  redis.on('error', () => {}) // the commands that fail say so themselves
  return new RedisDirectory(redis)
}
