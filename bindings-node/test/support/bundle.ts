/** A test's program as one plain file: it starts in a tenth of the time, which counts when it is started often. */
import { mkdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

export interface Bundled extends AsyncDisposable {
  path: string
}

/** Bundles a program of TypeScript; packages stay outside. */
export async function bundled(program: string): Promise<Bundled> {
  // Two folders below the package, from where the native part is found as from `host/`.
  const folder = fileURLToPath(new URL('../../node_modules/.test-programs/', import.meta.url))
  await mkdir(folder, { recursive: true })
  const path = join(folder, `${basename(program, '.ts')}-${process.pid}.mjs`)
  await build({
    entryPoints: [program],
    outfile: path,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
  })
  return { path, [Symbol.asyncDispose]: async () => await rm(path) }
}
