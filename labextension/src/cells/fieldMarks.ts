/** Marks `{expression}` where the kernel will insert a value, and what it will refuse, in the part of a cell that is in sight. */

import { type Extension, RangeSetBuilder } from '@codemirror/state';
import { Decoration, type DecorationSet, EditorView, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import type { TranslationBundle } from '@jupyterlab/translation';

import { hasFlag, type MagicLine, readMagicAhead } from '../magicLine';
import { type Field, readFields } from './fields';

/** How far above the part in sight the reading begins: a field that begins further up is too long to be one. */
const RUN_UP = 2000;

type Marks = Readonly<Record<Field['kind'], Decoration>>;

const THEME = EditorView.baseTheme({
  '.gz-cm-field, .gz-cm-field span': { color: 'var(--jp-mirror-editor-variable-2-color)', fontWeight: 'bold' },
  '.gz-cm-field': { borderRadius: '2px', backgroundColor: 'color-mix(in srgb, var(--jp-brand-color1) 14%, transparent)' },
  '.gz-cm-escape, .gz-cm-escape span': { color: 'var(--jp-mirror-editor-string-2-color)' },
  '.gz-cm-refused': { textDecoration: 'underline dotted var(--jp-warn-color0) 2px', textUnderlineOffset: '3px' }
});

/** `inBody`: whether the cell's text is expanded, and not its options only. */
export function fieldMarks(trans: TranslationBundle, inBody: boolean): Extension {
  const marked = (name: string, title: string): Decoration => Decoration.mark({ class: `gz-cm-${name}`, attributes: { title } });
  const marks: Marks = {
    field: marked('field', trans.__('Replaced by the value of this expression')),
    escape: marked('escape', trans.__('Sent as one brace')),
    refused: marked('refused', trans.__('No expression: write {{ and }} for literal braces, or add --raw'))
  };
  return [THEME, ViewPlugin.define(view => new FieldMarks(view, marks, inBody), { decorations: plugin => plugin.decorations })];
}

class FieldMarks {
  decorations: DecorationSet;

  constructor(
    view: EditorView,
    private readonly marks: Marks,
    private readonly inBody: boolean
  ) {
    this.decorations = this.mark(view);
  }

  update(update: ViewUpdate): void {
    if (update.docChanged || update.viewportChanged) {
      this.decorations = this.mark(update.view);
    }
  }

  private mark(view: EditorView): DecorationSet {
    const { doc } = view.state;
    const magic = readMagicAhead(doc.length, size => doc.sliceString(0, size));
    const builder = new RangeSetBuilder<Decoration>();
    if (!magic || isRaw(doc.sliceString(0, magic.to), magic)) {
      return builder.finish();
    }
    const comment = magic.words.find(word => word.kind === 'comment');
    const parts = [{ from: magic.from, to: comment?.from ?? magic.to }];
    if (this.inBody) {
      const { from, to } = view.viewport;
      const start = from - RUN_UP > magic.to ? doc.lineAt(from - RUN_UP).from : magic.to;
      parts.push({ from: Math.max(start, magic.to), to: Math.min(to + RUN_UP, doc.length) });
    }
    for (const { from, to } of parts) {
      for (const field of readFields(doc.sliceString(from, Math.max(from, to)), from)) {
        builder.add(field.from, field.to, this.marks[field.kind]);
      }
    }
    return builder.finish();
  }
}

function isRaw(source: string, magic: MagicLine): boolean {
  return magic.kind === 'llm' && hasFlag(source, magic, '--raw');
}
