//! The titles of problems in Korean and Japanese. The English ones stand with the codes; `code` is the same in every language.

use super::Code;
use crate::language::Language;

impl Code {
    /// One line for people in their language.
    #[must_use]
    pub const fn title_in(self, language: Language) -> &'static str {
        match language {
            Language::English => self.title(),
            Language::Korean => self.both().0,
            Language::Japanese => self.both().1,
        }
    }

    #[rustfmt::skip]
    const fn both(self) -> (&'static str, &'static str) {
        match self {
            Self::MalformedRequest => ("요청을 읽을 수 없습니다", "リクエストを読み取れません"),
            Self::IdempotencyKeyRequired => ("멱등성 키가 필요합니다", "冪等キーが必要です"),
            Self::IdempotencyKeyInvalid => ("사용할 수 없는 멱등성 키입니다", "この冪等キーは使えません"),
            Self::IdempotencyKeyMismatch => ("헤더와 본문의 멱등성 키가 서로 다릅니다", "ヘッダーと本文の冪等キーが異なります"),
            Self::BadRequest => ("올바른 HTTP 요청이 아닙니다", "正しいHTTPリクエストではありません"),
            Self::InvalidParameter => ("쿼리 매개변수가 올바르지 않습니다", "クエリパラメーターが正しくありません"),
            Self::AuthenticationRequired => ("주문하려면 로그인해 주세요", "ご注文にはログインが必要です"),
            Self::Forbidden => ("이 신원으로는 호출할 수 없는 경로입니다", "このIDではこの経路を呼び出せません"),
            Self::UserMismatch => ("다른 사용자의 인증 정보입니다", "別の利用者の認証情報です"),
            Self::NotFound => ("찾을 수 없습니다", "見つかりません"),
            Self::MethodNotAllowed => ("이 리소스에 쓸 수 없는 메서드입니다", "このリソースでは使えないメソッドです"),
            Self::RequestTimeout => ("요청이 제시간에 도착하지 않았습니다", "リクエストが時間内に届きませんでした"),
            Self::PriceChanged => ("가격이 변경되었습니다", "価格が変わりました"),
            Self::TotalChanged => ("합계 금액이 변경되었습니다", "合計金額が変わりました"),
            Self::InsufficientStock => ("재고가 부족합니다", "在庫が足りません"),
            Self::InvalidTransition => ("주문이 이미 다음 단계로 넘어갔습니다", "ご注文はすでに次の段階に進んでいます"),
            Self::IdempotencyInProgress => ("같은 키의 첫 요청이 아직 처리 중입니다", "同じキーの最初のリクエストを処理中です"),
            Self::PreconditionFailed => ("리소스가 그사이 변경되었습니다", "リソースが変更されています"),
            Self::BodyTooLarge => ("본문이 너무 큽니다", "本文が大きすぎます"),
            Self::UriTooLong => ("URI가 너무 깁니다", "URIが長すぎます"),
            Self::UnsupportedMediaType => ("본문은 JSON이어야 합니다", "本文はJSONでなければなりません"),
            Self::ExpectationFailed => ("Expect 요청을 충족할 수 없습니다", "Expectの要求を満たせません"),
            Self::MisdirectedRequest => ("이 연결에서 제공하지 않는 호스트입니다", "この接続では提供していないホストです"),
            Self::IdempotencyKeyReused => ("이미 다른 주문에 쓰인 키입니다", "このキーは別の注文で使われています"),
            Self::UnknownProduct => ("없는 상품입니다", "存在しない商品です"),
            Self::ProductUnavailable => ("판매하지 않는 상품입니다", "お取り扱いのない商品です"),
            Self::InvalidQuantity => ("수량은 1 이상의 정수여야 합니다", "数量は1以上の整数でなければなりません"),
            Self::QuantityLimit => ("한 주문에 담을 수 있는 수량을 넘었습니다", "一度にご注文いただける数量を超えています"),
            Self::EmptyOrder => ("주문할 상품이 없습니다", "注文する商品がありません"),
            Self::TooManyLines => ("한 주문에는 100줄까지 담을 수 있습니다", "一度のご注文は100行までです"),
            Self::CurrencyMismatch => ("이 시장의 통화가 아닙니다", "この市場の通貨ではありません"),
            Self::AmountOutOfRange => ("금액이 너무 큽니다", "金額が大きすぎます"),
            Self::InvalidAddress => ("주소가 완전하지 않습니다", "住所に不足があります"),
            Self::InvalidProduct => ("상품 정보가 완전하지 않습니다", "商品の情報に不足があります"),
            Self::NotSupportedYet => ("아직 지원하지 않는 항목입니다", "まだ対応していない項目です"),
            Self::TooManyRequests => ("요청이 너무 많습니다", "リクエストが多すぎます"),
            Self::HeadersTooLarge => ("헤더가 너무 큽니다", "ヘッダーが大きすぎます"),
            Self::Internal => ("서버에 문제가 생겼습니다", "サーバー側で問題が起きました"),
            Self::HttpVersion => ("지원하지 않는 HTTP 버전입니다", "対応していないHTTPのバージョンです"),
            Self::NotImplemented => ("알 수 없는 메서드입니다", "不明なメソッドです"),
            Self::Overloaded => ("지금 요청이 몰리고 있습니다", "ただいま混み合っています"),
            Self::Draining => ("서버가 종료되는 중입니다", "サーバーを停止しています"),
            Self::PricesStale => ("지금은 가격을 확인할 수 없습니다", "ただいま価格を確認できません"),
            Self::StorageFull => ("저장 공간이 부족합니다", "保存領域が足りません"),
            Self::OutcomeUnknown => ("처리 여부를 알 수 없습니다", "処理されたかどうか分かりません"),
            Self::UpstreamUnavailable => ("일부 서비스가 다시 시작하는 중입니다", "一部のサービスが再起動しています"),
            Self::UpstreamTimeout => ("일부 서비스가 제시간에 응답하지 않았습니다", "一部のサービスが時間内に応答しませんでした"),
            Self::StorageFailed => ("저장소가 멈췄습니다", "ストレージが停止しました"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_a_title_of_its_own_in_each_language() {
        let hangul = |character: char| ('가'..='힣').contains(&character);
        let kana = |character: char| ('ぁ'..='ヿ').contains(&character);
        for language in [Language::English, Language::Korean, Language::Japanese] {
            let titles: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.title_in(language)).collect();
            assert_eq!(titles.len(), Code::ALL.len(), "{language:?}");
        }
        for code in Code::ALL {
            assert!(code.title_in(Language::Korean).contains(hangul), "{}", code.slug());
            assert!(code.title_in(Language::Japanese).contains(kana), "{}", code.slug());
        }
    }
}
