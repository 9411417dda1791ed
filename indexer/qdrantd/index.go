package qdrantd

import (
	"github.com/qdrant/go-client/qdrant"

	"github.com/radstream/radstream/indexer/flat"
)

// index converts the declaration of a payload index. Without a type it is a keyword one.
func index(r *qdrant.CreateFieldIndexCollection) (flat.Index, error) {
	p := r.GetFieldIndexParams()
	if p.GetIndexParams() == nil {
		return plainIndex(r.GetFieldType())
	}
	switch p := p.GetIndexParams().(type) {
	case *qdrant.PayloadIndexParams_KeywordIndexParams:
		return flat.Index{Type: flat.KeywordIndex, Tenant: p.KeywordIndexParams.GetIsTenant()}, nil
	case *qdrant.PayloadIndexParams_IntegerIndexParams:
		return flat.Index{Type: flat.IntegerIndex}, nil
	case *qdrant.PayloadIndexParams_FloatIndexParams:
		return flat.Index{Type: flat.FloatIndex}, nil
	case *qdrant.PayloadIndexParams_BoolIndexParams:
		return flat.Index{Type: flat.BoolIndex}, nil
	case *qdrant.PayloadIndexParams_DatetimeIndexParams:
		return flat.Index{Type: flat.DatetimeIndex}, nil
	case *qdrant.PayloadIndexParams_UuidIndexParams:
		return flat.Index{Type: flat.UUIDIndex, Tenant: p.UuidIndexParams.GetIsTenant()}, nil
	case *qdrant.PayloadIndexParams_TextIndexParams:
		return textIndex(p.TextIndexParams)
	}
	return flat.Index{}, unimplemented("geo indexes")
}

func plainIndex(t qdrant.FieldType) (flat.Index, error) {
	switch t {
	case qdrant.FieldType_FieldTypeKeyword:
		return flat.Index{Type: flat.KeywordIndex}, nil
	case qdrant.FieldType_FieldTypeInteger:
		return flat.Index{Type: flat.IntegerIndex}, nil
	case qdrant.FieldType_FieldTypeFloat:
		return flat.Index{Type: flat.FloatIndex}, nil
	case qdrant.FieldType_FieldTypeBool:
		return flat.Index{Type: flat.BoolIndex}, nil
	case qdrant.FieldType_FieldTypeDatetime:
		return flat.Index{Type: flat.DatetimeIndex}, nil
	case qdrant.FieldType_FieldTypeUuid:
		return flat.Index{Type: flat.UUIDIndex}, nil
	case qdrant.FieldType_FieldTypeText:
		return flat.Index{Type: flat.TextIndex}, nil
	}
	return flat.Index{}, unimplemented("field type " + t.String())
}

func textIndex(p *qdrant.TextIndexParams) (flat.Index, error) {
	if err := firstOf(
		field{"stopwords", p.GetStopwords() != nil},
		field{"stemmers", p.GetStemmer() != nil},
		field{"ascii_folding", p.GetAsciiFolding()},
	); err != nil {
		return flat.Index{}, err
	}
	t := flat.TextParams{
		KeepCase: p.Lowercase != nil && !*p.Lowercase, PhrasesSupported: p.GetPhraseMatching(),
		MinToken: clamp(p.GetMinTokenLen()), MaxToken: clamp(p.GetMaxTokenLen()),
	}
	switch p.GetTokenizer() {
	case qdrant.TokenizerType_Word:
	case qdrant.TokenizerType_Whitespace:
		t.Tokenizer = flat.Whitespace
	case qdrant.TokenizerType_Unknown:
		return flat.Index{}, invalid("a text index needs a tokenizer")
	default:
		return flat.Index{}, unimplemented("tokenizer " + p.GetTokenizer().String())
	}
	return flat.Index{Type: flat.TextIndex, Text: t}, nil
}

func protoIndex(ix flat.Index) *qdrant.PayloadSchemaInfo {
	out := &qdrant.PayloadSchemaInfo{}
	switch ix.Type {
	case flat.KeywordIndex:
		out.DataType = qdrant.PayloadSchemaType_Keyword
		if ix.Tenant {
			out.Params = qdrant.NewPayloadIndexParamsKeyword(&qdrant.KeywordIndexParams{IsTenant: &ix.Tenant})
		}
	case flat.IntegerIndex:
		out.DataType = qdrant.PayloadSchemaType_Integer
	case flat.FloatIndex:
		out.DataType = qdrant.PayloadSchemaType_Float
	case flat.BoolIndex:
		out.DataType = qdrant.PayloadSchemaType_Bool
	case flat.DatetimeIndex:
		out.DataType = qdrant.PayloadSchemaType_Datetime
	case flat.UUIDIndex:
		out.DataType = qdrant.PayloadSchemaType_Uuid
	case flat.TextIndex:
		out.DataType = qdrant.PayloadSchemaType_Text
		lower, phrases := !ix.Text.KeepCase, ix.Text.PhrasesSupported
		tokenizer := qdrant.TokenizerType_Word
		if ix.Text.Tokenizer == flat.Whitespace {
			tokenizer = qdrant.TokenizerType_Whitespace
		}
		out.Params = qdrant.NewPayloadIndexParamsText(&qdrant.TextIndexParams{Tokenizer: tokenizer, Lowercase: &lower, PhraseMatching: &phrases})
	}
	return out
}
