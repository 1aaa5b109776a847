/** Gives code cells of Python kernels that begin with a magic of ours their own language, for as long as they do. */

import { Compartment, EditorState, type Extension, type StateEffect, type Text } from '@codemirror/state';
import { type EditorView, ViewPlugin, type ViewUpdate } from '@codemirror/view';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { CodeEditor } from '@jupyterlab/codeeditor';
import { IEditorExtensionRegistry, IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { type MagicKind, readMagicAhead } from '../magicLine';
import { CellLanguages, PROSE } from './cellLanguage';
import { fieldMarks } from './fieldMarks';

/** What JupyterLab calls the language of a Python kernel's cells: with IPython's magics, and without. */
const PYTHON = ['text/x-ipython', 'text/x-python'];

const NONE: Extension = [];

/** The language of one editor's cell. */
class CellHighlighting {
  private readonly place = new Compartment();

  constructor(
    readonly model: CodeEditor.IModel,
    private readonly languages: CellLanguages
  ) {}

  /** A change of the text brings the change of language in the same transaction, so that neither is drawn alone. */
  get extension(): Extension {
    const source = this.model.sharedModel.getSource();
    const withText = EditorState.transactionExtender.of(({ docChanged, newDoc, startState }) => {
      const effect = docChanged ? this.change(startState, newDoc) : null;
      return effect && { effects: effect };
    });
    const first = this.wanted(this.kind(source.length, size => source.slice(0, size)));
    return [this.place.of(first), withText, ViewPlugin.define(view => new Follower(view, this))];
  }

  /** What makes the language of `state` the one that `text` wants; null where it is that already. */
  change(state: EditorState, text: Text): StateEffect<unknown> | null {
    const extension = this.wanted(this.kindOf(text));
    return this.place.get(state) === extension ? null : this.place.reconfigure(extension);
  }

  hasChanged({ startState, state }: ViewUpdate): boolean {
    return this.place.get(startState) !== this.place.get(state);
  }

  /** Resolves when the language that `text` wants is whole. */
  async load(text: Text): Promise<void> {
    const kind = this.kindOf(text);
    if (kind) {
      await this.languages.load(kind);
    }
  }

  private kindOf(text: Text): MagicKind | null {
    return this.kind(text.length, size => text.sliceString(0, size));
  }

  private kind(length: number, read: (length: number) => string): MagicKind | null {
    return PYTHON.includes(this.model.mimeType) ? readMagicAhead(length, read)?.kind ?? null : null;
  }

  private wanted(kind: MagicKind | null): Extension {
    return kind ? this.languages.extension(kind) : NONE;
  }
}

/** Sees to it that the language is the one wanted, also where no text changed. */
class Follower {
  private gone = false;

  constructor(
    private readonly view: EditorView,
    private readonly cell: CellHighlighting
  ) {
    cell.model.mimeTypeChanged.connect(this.look, this);
    this.load();
  }

  update(update: ViewUpdate): void {
    if (this.cell.hasChanged(update)) {
      this.load();
    }
  }

  destroy(): void {
    this.gone = true;
    this.cell.model.mimeTypeChanged.disconnect(this.look, this);
  }

  private load(): void {
    void this.cell.load(this.view.state.doc).then(() => this.look());
  }

  private look(): void {
    const effects = this.gone ? null : this.cell.change(this.view.state, this.view.state.doc);
    if (effects) {
      this.view.dispatch({ effects });
    }
  }
}

export const highlighting: JupyterFrontEndPlugin<void> = {
  id: 'gleitzeit-nb:highlighting',
  description: 'Shows the text of %%llm cells as Markdown and that of %%sandbox cells as Python.',
  autoStart: true,
  requires: [IEditorExtensionRegistry, IEditorLanguageRegistry],
  optional: [ITranslator],
  activate: (
    _: JupyterFrontEnd,
    extensions: IEditorExtensionRegistry,
    registry: IEditorLanguageRegistry,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('gleitzeit_nb');
    const languages = new CellLanguages(registry, { llm: [PROSE, fieldMarks(trans, true)], sandbox: fieldMarks(trans, false) });
    extensions.addExtension({
      name: 'gleitzeit-nb:cells',
      factory: ({ inline, model }) => (inline ? { instance: () => new CellHighlighting(model, languages).extension, reconfigure: () => null } : null)
    });
  }
};
