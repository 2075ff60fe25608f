import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { ConfigError, type Intent, Lifecycle, type LifecycleOptions, writeMarker } from '../host/index.js'
import { Marker } from '../host/marker.js'

let folder: string
let path: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-marker-'))
})
after(async () => {
  await rm(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder)
  path = join(folder, 'marker')
})

describe('a marker file (Y3)', () => {
  const taken = (instance = 'g1') => new Marker({ path, instance }).take()
  const because = (instance?: string) => {
    const marker = taken(instance)
    assert.ok(marker && 'because' in marker, JSON.stringify(marker))
    return marker.because
  }

  it('counts once', async () => {
    assert.equal(taken(), undefined)
    writeMarker(path, { instance: 'g1', intent: 'decommission' })
    assert.deepEqual(taken(), { intent: 'decommission' })
    assert.equal(taken(), undefined)
    assert.deepEqual(await readdir(folder), [], 'nothing is left behind')
  })

  it('counts for its instance alone, and says so', () => {
    writeMarker(path, { instance: 'g2', intent: 'restart' })
    assert.equal(because(), 'it is for "g2", and this is "g1"')
    assert.equal(taken('g2'), undefined, 'it was used up by being read')
  })

  it('counts while it is fresh, by a clock that agrees', async () => {
    for (const at of [Date.now() - 61_000, Date.now() + 60_000, 'yesterday', undefined]) {
      await writeFile(path, JSON.stringify({ instance: 'g1', intent: 'restart', at }))
      assert.match(because(), /^it is (-?\d+|NaN) ms old, and counts from 0 to 60000 ms$/)
    }
    await writeFile(path, JSON.stringify({ instance: 'g1', intent: 'restart', at: Date.now() - 59_000 }))
    assert.deepEqual(taken(), { intent: 'restart' })
  })

  it('does not count when it is torn, long, or says what nobody can announce', async () => {
    const bad = ['', '{"instance":"g1"', 'null', '[]', '7', ' '.repeat(5_000), '{"intent":"handoff"}']
    for (const text of bad) {
      await writeFile(path, text)
      assert.ok(because().length > 0, text.slice(0, 30))
      assert.deepEqual(await readdir(folder), [])
    }
    assert.throws(() => writeMarker(path, { instance: 'g1', intent: 'handoff' as never }), RangeError)
  })

  it('leaves alone what is no file', async () => {
    await mkdir(path)
    await writeFile(join(path, 'precious'), '')
    assert.equal(because(), 'it is no regular file')
    assert.deepEqual(await readdir(path), ['precious'])
  })

  it('is refused without a path, an instance, or an age that can be read', () => {
    const refused = (options: LifecycleOptions['marker']) => {
      assert.throws(() => new Lifecycle({ signals: false, ...(options && { marker: options }) }), ConfigError)
    }
    refused({ path: '', instance: 'g1' })
    refused({ path, instance: '' })
    refused({ path, instance: 'g1', maxAge: 'soon' as never })
  })
})

describe('what a stop is for (Y3)', { concurrency: false }, () => {
  /** A lifecycle in this process, which gets signals as if they had been sent. */
  const stopped = async (
    options: LifecycleOptions,
    stop: (life: Lifecycle) => unknown,
    { started = true } = {},
  ) => {
    const life = new Lifecycle({ lameDuck: 0, ...options })
    const phases: (string | undefined)[] = []
    const ignored: string[] = []
    life.on('phase', ({ phase, intent, source }) => {
      if (intent !== undefined) phases.push(`${phase} ${intent} ${source}`)
    })
    life.on('markerIgnored', ({ because }) => ignored.push(because))
    if (started) life.start()
    await stop(life)
    if (!started) life.start()
    const { intent, source } = await life.stopped
    return { said: `${intent} ${source}`, phases, ignored }
  }
  const signal = () => process.emit('SIGTERM')
  const marker = () => ({ path, instance: 'g1' })
  const announce = (intent: Exclude<Intent, 'handoff'>, instance = 'g1') =>
    writeMarker(path, { instance, intent })

  it('is what the marker says, whether the signal means more or less', async () => {
    for (const [announced, meant] of [
      ['restart', 'decommission'],
      ['decommission', 'idle'],
      ['idle', 'restart'],
    ] as const) {
      announce(announced)
      const { said, phases } = await stopped({ marker: marker(), signals: { SIGTERM: meant } }, signal)
      assert.equal(said, `${announced} marker`)
      assert.deepEqual(phases.at(0), `lame-duck ${announced} marker`)
      assert.deepEqual(phases.at(-1), `stopped ${announced} marker`)
    }
  })

  it('is what the signal means without a marker, and the default when nobody says', async () => {
    const plain = await stopped({ marker: marker(), signals: { SIGTERM: 'idle' } }, signal)
    assert.equal(plain.said, 'idle signal')
    assert.equal((await stopped({}, signal)).said, 'restart default')
  })

  it('is what the signal means when the marker does not count, and that is told', async () => {
    announce('restart', 'g2')
    const { said, ignored } = await stopped(
      { marker: marker(), signals: { SIGTERM: 'decommission' } },
      signal,
    )
    assert.equal(said, 'decommission signal')
    assert.deepEqual(ignored, ['it is for "g2", and this is "g1"'])
  })

  it('stays what the marker said when the same signal comes twice', async () => {
    announce('restart')
    const { said } = await stopped({ marker: marker(), signals: { SIGTERM: 'decommission' } }, () => {
      signal()
      signal()
    })
    assert.equal(said, 'restart marker')
  })

  it('is what a control call says, and the marker stays for the stop by a signal', async () => {
    announce('restart')
    const options: LifecycleOptions = { marker: marker(), signals: { SIGTERM: 'idle' } }
    const called = await stopped(options, (life) => void life.stop('idle'))
    assert.equal(called.said, 'idle control')
    assert.equal((await stopped(options, signal)).said, 'restart marker')
  })

  it('is raised by who asks for more, and by nobody who asks for less', async () => {
    const both = (first: Intent, second: Intent) =>
      stopped({ signals: { SIGTERM: second } }, (life) => {
        void life.stop(first)
        signal()
      })
    assert.equal((await both('idle', 'restart')).said, 'restart signal')
    assert.equal((await both('decommission', 'restart')).said, 'decommission control')
  })

  it('is known of a signal that came before the start', async () => {
    announce('restart')
    const options: LifecycleOptions = { marker: marker(), signals: { SIGTERM: 'decommission' } }
    const { said } = await stopped(options, signal, { started: false })
    assert.equal(said, 'restart marker')
  })

  it('is said by the boot when that fails', async () => {
    const life = new Lifecycle({ exit: false, signals: false })
    await assert.rejects(
      life.run(() => Promise.reject(new Error('no database'))),
      /no database/,
    )
    const { intent, source } = await life.stopped
    assert.equal(`${intent} ${source}`, 'restart boot')
  })
})
