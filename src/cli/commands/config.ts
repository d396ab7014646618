import { MlvError } from '../../base/errors.ts'
import { type Configure, example } from '../command.ts'
import { editSettings, findConfigPlace, type TargetOptions, targetOf } from '../config-place.ts'
import { renderTable } from '../render/table.ts'

function show(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : String(value)
}

async function requireKey(key: string): Promise<void> {
  const [{ knownKeys, typeOfKey }, { nearestKey }] = await Promise.all([
    import('../../workspace/config-keys.ts'),
    import('../../workspace/nearest-key.ts'),
  ])
  if (typeOfKey(key)) return
  const close = nearestKey(key, knownKeys())
  throw new MlvError('CONFIG_INVALID', `mlv knows no setting "${key}"`, {
    hint: close ? `Did you mean "${close}"?` : `Settings are: ${knownKeys().join(', ')}.`,
  })
}

export const configure: Configure = (command, act) => {
  example(command, 'mlv config set core.autostage true', 'mlv config list --show-origin')

  const get = command.command('get').description('print one setting; exit 1 when it is not set').argument('<key>')
  get.option('--local', 'of this clone alone').option('--user', 'of all your projects')
  example(get, 'mlv config get core.remote')
  get.action(
    act(async ({ output, surroundings }, key: string, options: TargetOptions) => {
      await requireKey(key)
      const { openConfig, readLayer } = await import('../../workspace/open-config.ts')
      const { createConfig } = await import('../../workspace/config.ts')
      const place = await findConfigPlace(surroundings)
      const target = targetOf(options)
      const config = target ? createConfig([await readLayer(target, place)]) : await openConfig(place)
      const found = config.list().find((item) => item.key === key && (!target || item.origin === target))
      output.answer(found ?? { key, value: null }, () => (found ? show(found.value) : ''))
      return found ? 0 : 1
    }),
  )

  const list = command.command('list').description('print every setting that counts')
  list
    .option('--show-origin', 'say where each is set')
    .option('--local', 'of this clone alone')
    .option('--user', 'of all your projects')
  example(list, 'mlv config list --show-origin')
  list.action(
    act(async ({ output, surroundings }, options: TargetOptions & { showOrigin?: boolean }) => {
      const { openConfig } = await import('../../workspace/open-config.ts')
      const target = targetOf(options)
      const config = await openConfig(await findConfigPlace(surroundings))
      const items = config.list().filter((item) => !target || item.origin === target)
      output.answer(items, () =>
        renderTable(
          items.map((item) => [
            item.key,
            show(item.value),
            ...(options.showOrigin ? [`${item.origin}${item.from ? `: ${item.from}` : ''}`] : []),
          ]),
        ),
      )
    }),
  )

  const set = command.command('set').description('change one setting').argument('<key>').argument('<value>')
  set.option('--local', 'for this clone alone (.git/mlv/config)').option('--user', 'for all your projects')
  example(set, 'mlv config set cache.dir /data/mlv-cache --local')
  set.action(
    act(async ({ output, surroundings }, key: string, typed: string, options: TargetOptions) => {
      await requireKey(key)
      const [{ parseValue }, { editConfig }] = await Promise.all([
        import('../../workspace/config-keys.ts'),
        import('../../workspace/edit-config.ts'),
      ])
      const value = parseValue(key, typed)
      const place = await findConfigPlace(surroundings)
      const { name, changed } = await editSettings(surroundings, place, () =>
        editConfig(targetOf(options) ?? 'project', [{ key, value }], place),
      )
      output.answer({ key, file: name, changed: changed[0] }, () =>
        output.quiet ? '' : changed[0] ? `${key} is set in ${name}` : `${key} was that already in ${name}`,
      )
    }),
  )

  const unset = command.command('unset').description('take one setting out').argument('<key>')
  unset.option('--local', 'for this clone alone (.git/mlv/config)').option('--user', 'for all your projects')
  example(unset, 'mlv config unset cache.link --local')
  unset.action(
    act(async ({ output, surroundings }, key: string, options: TargetOptions) => {
      const { editConfig } = await import('../../workspace/edit-config.ts')
      const place = await findConfigPlace(surroundings)
      const edits = [{ key, value: undefined }]
      const { name, changed } = await editSettings(surroundings, place, () =>
        editConfig(targetOf(options) ?? 'project', edits, place),
      )
      output.answer({ key, file: name, changed: changed[0] }, () =>
        output.quiet ? '' : changed[0] ? `${key} is gone from ${name}` : `${key} was not in ${name}`,
      )
      return changed[0] ? 0 : 1
    }),
  )
}
