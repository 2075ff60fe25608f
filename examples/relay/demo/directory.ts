/** The directory of a demo run: served by the runner itself, or by a Redis server that it starts. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Owner, Directory as TunnelDirectory } from 'tidegate'
import { DirectoryServer } from 'tidegate/directory-server'
import { connectDirectory } from '../directory.ts'
import { freePorts } from './ports.ts'

export interface Directory {
  /** For people. */
  kind: string
  /** For the relays. */
  url: string
  /** How many rows point to this life of a machine. */
  rowsOf(owner: Owner, hosts: string[]): Promise<number>
  stop(): Promise<void>
}

export async function startDirectory(redis: boolean): Promise<Directory> {
  const { kind, url, stop } = redis ? await startRedis() : await startServer()
  const directory = await connectDirectory(url)
  return {
    kind,
    url,
    stop: async () => {
      await stop()
    },
    rowsOf: (owner, hosts) => countRows(directory, owner, hosts),
  }
}

async function countRows(directory: TunnelDirectory, owner: Owner, hosts: string[]): Promise<number> {
  const rows = await Promise.all(hosts.map((host) => directory.look(host)))
  const theirs = rows.filter(
    (row) =>
      row.type === 'owned' &&
      row.owner.machine === owner.machine &&
      row.owner.incarnation === owner.incarnation,
  )
  return theirs.length
}

async function startServer() {
  const server = new DirectoryServer()
  const port = await server.listen()
  return {
    kind: 'directory in memory',
    url: `tcp://127.0.0.1:${port}`,
    stop: () => server.close(),
  }
}

/** A Redis server of our own, in a folder of its own, on a free port. */
async function startRedis() {
  const [port] = await freePorts(1)
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-redis-'))
  const flags = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--daemonize',
    'no',
  ]
  const child = spawn('redis-server', flags, { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  await ready(child)
  return {
    kind: `directory in Redis on port ${port}`,
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function ready(child: ChildProcess): Promise<void> {
  const failed = Promise.race([
    once(child, 'error').then(([error]) => Promise.reject(error)),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`redis-server ended with ${code}`))),
  ])
  const accepting = new Promise<void>((resolve) => {
    child.stdout?.on('data', (text) => String(text).includes('Ready to accept') && resolve())
  })
  await Promise.race([accepting, failed])
  failed.catch(() => {})
}
