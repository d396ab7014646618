import { readFileSync } from 'node:fs'

/** Reads one section of params.yaml. Node has no YAML reader, so this one knows just what the file holds: sections, and below them
 *  indented lines of `key: number`. Anything else is an error, never a guess. */
export function readParams(section, path = 'params.yaml') {
  const sections = {}
  let current
  readFileSync(path, 'utf8')
    .split(/\r?\n/)
    .forEach((text, i) => {
      const line = text.replace(/(^|\s)#.*$/, '').trimEnd()
      const heading = /^([a-z_]\w*):$/.exec(line)
      const entry = /^ +([a-z_]\w*): +(\S+)$/.exec(line)
      if (line === '') return
      if (heading) sections[heading[1]] = current = {}
      else if (current && entry && Number.isFinite(Number(entry[2]))) current[entry[1]] = Number(entry[2])
      else throw new Error(`${path}:${i + 1}: expected "section:" or "  key: number", found "${text}"`)
    })
  if (!sections[section]) throw new Error(`${path} has no section "${section}"`)
  return sections[section]
}
