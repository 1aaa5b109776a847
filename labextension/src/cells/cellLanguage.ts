/** The languages of `%%llm` and `%%sandbox` cells: one node for the magic line, and below it Markdown or Python as JupyterLab has them. */

import { defineLanguageFacet, HighlightStyle, Language, languageDataProp, syntaxHighlighting } from '@codemirror/language';
import { EditorState, type Extension, Prec } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { type Input, NodeSet, NodeType, Parser, type ParseWrapper, parseMixed, type PartialParse, Tree, type TreeFragment } from '@lezer/common';
import { styleTags, Tag } from '@lezer/highlight';

import { type MagicKind, readMagicAhead, type Word } from '../magicLine';

interface Range {
  readonly from: number;
  readonly to: number;
}

/** A Markdown parser can be made anew without some of its syntax. */
interface Configurable {
  configure(changes: { readonly remove: readonly string[] }): Parser;
}

interface Body {
  readonly parser: Parser;
  readonly support: Extension;
}

const BODIES: Readonly<Record<MagicKind, string>> = { llm: 'text/x-ipythongfm', sandbox: 'text/x-python' };
/** In a prompt a dollar is money, or begins a shell's variable, more often than a formula. */
const NOT_IN_PROMPTS = ['InlineMathDollar', 'BlockMathDollar'];

// Tags without a parent, so that an editor's theme does not colour them too.
const TAGS = { magic: Tag.define(), option: Tag.define(), comment: Tag.define() };
const STYLE = HighlightStyle.define([
  { tag: TAGS.magic, color: 'var(--jp-mirror-editor-keyword-color)', fontWeight: 'bold' },
  { tag: TAGS.option, color: 'color-mix(in srgb, var(--jp-content-font-color1) 72%, transparent)' },
  { tag: TAGS.comment, color: 'var(--jp-mirror-editor-comment-color)', fontStyle: 'italic' }
]);
const DATA = defineLanguageFacet({ commentTokens: { line: '#' } });
const WORDS: Readonly<Record<Word['kind'], string>> = { magic: 'MagicName', option: 'MagicOption', value: 'MagicValue', comment: 'MagicComment' };
const NODES = new NodeSet(
  [
    NodeType.define({ id: 0, name: 'Cell', top: true, props: [[languageDataProp, DATA]] }),
    NodeType.define({ id: 1, name: 'CellBody' }),
    ...Object.values(WORDS).map((name, index) => NodeType.define({ id: index + 2, name }))
  ]
).extend(styleTags({ MagicName: TAGS.magic, MagicOption: TAGS.option, MagicComment: TAGS.comment }));
const [CELL, BODY, ...WORD_TYPES] = NODES.types;
const WORD_KINDS = Object.keys(WORDS);

/** Splits a cell behind its magic line. The line is read anew for every change; what lies below is the inner parser's, piece by piece. */
class CellParser extends Parser {
  private readonly wrap: ParseWrapper | null;

  constructor(body: Parser | null) {
    super();
    this.wrap = body && parseMixed(node => (node.type === BODY ? { parser: body } : null));
  }

  override createParse(input: Input, fragments: readonly TreeFragment[], ranges: readonly Range[]): PartialParse {
    const split = new SplitParse(input);
    return this.wrap ? this.wrap(split, input, fragments, ranges) : split;
  }
}

class SplitParse implements PartialParse {
  parsedPos = 0;
  stoppedAt: number | null = null;

  constructor(private readonly input: Input) {}

  stopAt(position: number): void {
    this.stoppedAt = position;
  }

  advance(): Tree {
    const { length } = this.input;
    const magic = readMagicAhead(length, size => this.input.read(0, size));
    const words = magic ? [...magic.above, ...magic.words] : [];
    const children = words.map(word => new Tree(WORD_TYPES[WORD_KINDS.indexOf(word.kind)], [], [], word.to - word.from));
    const positions = words.map(word => word.from);
    const body = magic ? Math.min(magic.to + 1, length) : 0;
    if (body < length) {
      children.push(new Tree(BODY, [], [], length - body));
      positions.push(body);
    }
    this.parsedPos = length;
    return new Tree(CELL, children, positions, length);
  }
}

/** The language of each kind of cell, with its body plain until JupyterLab has loaded the inner language. */
export class CellLanguages {
  private readonly made: Partial<Record<MagicKind, Extension>> = {};
  private readonly loading: Partial<Record<MagicKind, Promise<void>>> = {};

  constructor(
    private readonly registry: IEditorLanguageRegistry,
    private readonly extras: Readonly<Record<MagicKind, Extension>>
  ) {}

  /** The same object until the inner language is there. */
  extension(kind: MagicKind): Extension {
    return (this.made[kind] ??= this.make(kind, null));
  }

  /** Resolves when `extension(kind)` is whole, or will not be: the body stays plain where JupyterLab lacks the language. */
  load(kind: MagicKind): Promise<void> {
    return (this.loading[kind] ??= this.loadBody(kind));
  }

  private async loadBody(kind: MagicKind): Promise<void> {
    const language = await this.registry.getLanguage(BODIES[kind]);
    if (language?.support) {
      const { parser } = language.support.language;
      this.made[kind] = this.make(kind, {
        parser: kind === 'llm' && 'configure' in parser ? (parser as unknown as Configurable).configure({ remove: NOT_IN_PROMPTS }) : parser,
        support: language.support.support
      });
    }
  }

  private make(kind: MagicKind, body: Body | null): Extension {
    const language = new Language(DATA, new CellParser(body?.parser ?? null), [], `gleitzeit-${kind}`);
    return [
      // Before the extension of the notebook's own language, of which the first counts.
      Prec.high([this.extras[kind], language, syntaxHighlighting(STYLE)]),
      body?.support ?? []
    ];
  }
}

/** How prose is typed: long lines wrap, and an apostrophe is no quote that wants closing. */
export const PROSE: Extension = [
  EditorView.lineWrapping,
  EditorState.languageData.of(() => [{ closeBrackets: { brackets: ['(', '[', '{', '"', '`'] } }])
];
