import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { fileError } from '../../src/base/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'mlv-errors-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const denied = Object.assign(new Error('EACCES'), { code: 'EACCES' })
const hintFor = (path: string) => (fileError(denied, 'writing', path) as { hint: string }).hint

test('a file that may not be written is to be looked at; one that could not be made, or is removed again, is not: its folder is', () => {
  mkdirSync(join(folder, 'store/tmp'), { recursive: true })
  const begun = 'store/tmp/123-01234567-0123456789ab'
  for (const path of ['data.csv', 'store/tmp/data.csv', begun, '.mlv-tmp-0123456789ab-data.csv.tmp'])
    writeFileSync(join(folder, path), '')
  expect(hintFor(join(folder, 'data.csv'))).toContain(`"ls -l ${folder}/data.csv"`)
  expect(hintFor(join(folder, 'none/such/file'))).toContain(`"ls -ld ${folder}"`)
  expect(hintFor(join(folder, 'store/tmp/data.csv'))).toContain(`"ls -l ${folder}/store/tmp/data.csv"`)
  expect(hintFor(join(folder, begun))).toContain(`"ls -ld ${folder}/store/tmp"`)
  expect(hintFor(join(folder, '.mlv-tmp-0123456789ab-data.csv.tmp'))).toContain(`"ls -ld ${folder}"`)
  expect(hintFor('data/of/the/project')).toContain('"ls -l data/of/the/project"')
})
