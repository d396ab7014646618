import { readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mapBounded } from '../../src/base/concurrency.ts'
import { createS3Blobs } from '../../src/transport/s3-blobs.ts'
import { listing } from '../helpers/listing.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { findS3, type S3Server, startS3 } from '../helpers/s3-server.ts'
import { committedEntries, pointsOf, runAgain, SCENES } from './scenes.ts'
import { DAMAGED } from './scenes-damaged.ts'
import { expectSound } from './soundness.ts'

/** Of the moments to die at; MLV_TEST_EVERY_POINT=1 tries all. */
const ONE_IN = process.env.MLV_TEST_EVERY_POINT ? 1 : 3

describe.skipIf(!findS3())('a push to a bucket', () => {
  let server: S3Server
  beforeAll(async () => {
    server = (await startS3())!
  })
  afterAll(async () => server?.stop())

  async function makeWorld(): Promise<{ repo: Repo; url: string }> {
    const url = `s3://${await server.bucket(`faults-${Math.random().toString(36).slice(2, 8)}`)}`
    const env = { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey }
    const repo = await makeRepo({ 'data/a': 'a', 'data/sub/b': 'b' }, { init: true, env })
    const options = ['--local', '--endpoint', server.endpoint, '--region', server.region, '--path-style']
    await repo.mlv('remote', 'add', 'origin', `${url}/0`, ...options)
    await repo.mlv('add', 'data')
    await repo.commit()
    return { repo, url }
  }

  it('killed before or after any upload is finished by the next one', async () => {
    const { repo, url } = await makeWorld()
    const before = listing(repo.path('data'))
    const faults = ['blob: write', 'blob: written'].flatMap((point) => [1, 2, 3].map((n) => `kill:${n}@${point}`))
    const killed = await mapBounded(faults, 2, async (fault) => {
      const copy = await repo.copy()
      const own = `${url}/${fault.replaceAll(/\W/g, '-')}`
      copy.write('.git/mlv/config', copy.read('.git/mlv/config').replace(`${url}/0`, own))
      const { exitCode } = await copy.mlvWith({ env: { MLV_FAULT: fault } }, 'push')
      expect(await copy.mlv('push')).toMatchObject({ exitCode: 0, stderr: '' })
      for (const path of ['data', '.git/mlv/store', '.git/mlv/state']) rmSync(copy.path(path), { recursive: true })
      expect(await copy.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
      expect(listing(copy.path('data'))).toEqual(before)
      copy.cleanup()
      return exitCode === -1
    })
    // mlv.json, a pack and an index.
    expect(killed).toEqual(faults.map(() => true))
  }, 300_000)

  it('beside others of other clones loses nothing', async () => {
    const { repo, url } = await makeWorld()
    const clones = [repo, await repo.clone(), await repo.clone()]
    const options = ['--local', '--endpoint', server.endpoint, '--region', server.region, '--path-style']
    for (const [i, clone] of clones.entries()) {
      if (i > 0) await clone.mlv('remote', 'add', 'origin', `${url}/0`, ...options)
      clone.write(`mine${i}`, `mine ${i}`)
      clone.write(`same${i}`, 'what all have')
      expect(await clone.mlv('add', `mine${i}`, `same${i}`)).toMatchObject({ exitCode: 0 })
    }
    for (const { exitCode, stderr } of await Promise.all(clones.map((clone, i) => clone.mlv('push', `mine${i}`, `same${i}`))))
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    for (const [i, clone] of clones.entries()) {
      for (const path of [`mine${i}`, `same${i}`, '.git/mlv/store']) rmSync(clone.path(path), { recursive: true })
      expect(await clone.mlv('pull', `mine${i}`, `same${i}`)).toMatchObject({ exitCode: 0, stderr: '' })
      expect([clone.read(`mine${i}`), clone.read(`same${i}`)]).toEqual([`mine ${i}`, 'what all have'])
    }
  })
})

const AT_BUCKETS = [
  'a push that merges indexes of a remote, and deletes superseded ones',
  'a collection of a remote',
  'purge of a file, here and on a remote',
  'a repair of a remote',
]

describe.skipIf(!findS3()).each([...SCENES, ...DAMAGED].filter(({ name }) => AT_BUCKETS.includes(name)))(
  '$name that is a bucket',
  (scene) => {
    let server: S3Server
    beforeAll(async () => {
      server = (await startS3())!
    })
    afterAll(async () => server?.stop())

    /** Puts what lies in the remote of a world into a bucket, which the world then finds where its remote was. */
    async function moveToBucket(repo: Repo, bucket: string, prefix: string): Promise<void> {
      const { accessKeyId, secretAccessKey, endpoint, region } = server
      const folder = repo.path('../remote')
      const blobs = await createS3Blobs({ bucket, prefix, endpoint, region, accessKeyId, secretAccessKey, env: {} })
      for (const item of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        const path = join(item.parentPath, item.name)
        if (item.isFile()) await blobs.put(path.slice(folder.length + 1), readFileSync(path))
      }
      blobs.close?.()
      rmSync(folder, { recursive: true })
      symlinkSync(join(server.folder!, bucket, prefix), folder)
      Object.assign(repo.env, { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey })
      const config = repo.read('.git/mlv/config').replace('url: ../remote', `url: s3://${bucket}/${prefix}`)
      repo.write('.git/mlv/config', config)
      const settings = ['--endpoint', endpoint, '--region', region, '--path-style']
      expect(await repo.mlv('remote', 'modify', 'origin', '--local', ...settings)).toMatchObject({ exitCode: 0 })
    }

    it('killed before uploads and deletions loses nothing and can be run again', async () => {
      // Only then can be looked at what lies there.
      if (server.folder === undefined) return
      const bucket = await server.bucket(`killed-${Math.random().toString(36).slice(2, 8)}`)
      const world = await scene.prepare()
      const committed = await committedEntries(world)
      const trial = await world.copy()
      await moveToBucket(trial, bucket, 'trial')
      const { points } = await pointsOf(scene, trial)
      const faults = ['blob: write', 'blob: delete'].flatMap((name) =>
        points.filter((point) => point === name).map((_, i) => `kill:${i + 1}@${name}`),
      )
      expect(faults.length).toBeGreaterThan(2)
      await mapBounded(
        faults.filter((_, i) => i % ONE_IN === 0),
        2,
        async (fault) => {
          const repo = await world.copy()
          await moveToBucket(repo, bucket, fault.replaceAll(/\W/g, '-'))
          expect(await repo.mlvWith({ env: { MLV_FAULT: fault } }, ...scene.args)).toMatchObject({ exitCode: -1 })
          try {
            if (!scene.cacheLags) await expectSound(repo.dir, committed)
            await scene.always?.(repo, committed)
            await runAgain(scene, repo, { isKnown: () => false })
          } catch (error) {
            throw new Error(`after ${fault}: ${(error as Error).message}`, { cause: error })
          }
          repo.cleanup()
        },
      )
    }, 300_000)
  },
)
