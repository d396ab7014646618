import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Writes name, version and licence of every package that the bundle holds parts of, as their licences ask.
 *  @param inputs the files that went into the bundle */
export function writeNotices(inputs, target) {
  const packages = new Set()
  for (const input of inputs) {
    const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)
    if (found) packages.add(found[1])
  }

  // Packages by the licence text they share: most of Amazon's carry the same one.
  const titles = new Map()
  for (const folder of [...packages].sort()) {
    const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
    const text = files
      .sort()
      .map((file) => readFileSync(join(folder, file), 'utf8').trim())
      .join('\n\n')
    const by = author === undefined ? '' : `, by ${typeof author === 'string' ? author : author.name}`
    titles.set(text, [...(titles.get(text) ?? []), `${name} ${version} (${license}${text === '' ? by : ''})`])
  }

  const sections = [...titles].map(([text, names]) => `${names.join('\n')}\n\n${text}`.trim())
  const line = `\n\n${'-'.repeat(80)}\n\n`
  writeFileSync(target, `mlv contains parts of these packages:${line}${sections.join(line)}\n`)
}
