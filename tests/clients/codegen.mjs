// The schema comes from a file, or by introspection where CONVENE_URL is set.
import { addTypenameSelectionDocumentTransform } from "@graphql-codegen/client-preset";

const { CONVENE_URL, CONVENE_TOKEN, CONVENE_SDL, TARGET } = process.env;

export default {
  schema: CONVENE_URL ? [{ [`${CONVENE_URL}/graphql`]: { headers: { Authorization: `Bearer ${CONVENE_TOKEN}` } } }] : CONVENE_SDL,
  documents: "operations.graphql",
  generates: {
    [`${TARGET}/`]: {
      preset: "client",
      presetConfig: { fragmentMasking: false, persistedDocuments: { hashAlgorithm: "sha256" } },
      documentTransforms: [addTypenameSelectionDocumentTransform],
    },
    [`${TARGET}/possible-types.ts`]: { plugins: ["fragment-matcher"], config: { useExplicitTyping: false } },
  },
};
