"""The words by which a choice is stated, in some 45 languages, and the letters that stand for plain ones.

Each word table is a list of alternatives of a regular expression, lower case. Those in Latin letters stand
between word boundaries where they are used; other scripts often write no spaces.
"""

import re
import unicodedata

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Plain quotes, brackets, letters and digits for typographic ones; nothing for marks that cannot be seen.
_PLAIN: dict[int, str | None] = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»「」『』〝〞", '"'),
        **dict.fromkeys("‘’‚‛‹›´", "'"),
        **dict.fromkeys("【〔〖《〈", "["),
        **dict.fromkeys("】〕〗》〉", "]"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e", None),
        **dict.fromkeys("\u2060\u2066\u2067\u2068\u2069\ufe0f\ufeff", None),
        **{
            chr(code): unicodedata.normalize(
                "NFKC", chr(code)
            )  # full-width, (a), Ⓐ, bold and other mathematical
            for first, last in ("！～", "⒜ⓩ", "𝐀𝟿", "🄐🄩", "🄰🅉")
            for code in range(ord(first), ord(last) + 1)
        },
        **{chr(ord(first) + n): ALPHABET[n] for first in "🅐🅰" for n in range(26)},  # not in NFKC
        "İ": "I",  # the one letter whose lower case is longer
    }
)

# Beyond 16 bits one range, as a class of single characters is slow there; it may hold others.
_NOT_PLAIN = re.compile(f"[{''.join(chr(code) for code in _PLAIN if code <= 0xFFFF)}\U0001d400-\U0001f189]+")

# Alone, but for titles at the start of a line, as "د. محمد" (Dr. Mohammed).
_ARABIC_CHOICE = re.compile(
    r"[أبجد](?![A-Za-z0-9\u0620-\u065f\u066e-\u06d3])(?<![A-Za-z0-9\u0620-\u065f\u066e-\u06d3].)"
    r"(?!(?<=^.)\.\s*\w)",
    re.M,
)
_ARABIC_LETTERS = str.maketrans("أبجد", "ABCD")


def make_plain(text: str) -> str:
    """Returns plain quotes, brackets, letters and digits for typographic ones, and no invisible marks.

    Of Arabic letters those that number four choices become A to D, where they stand alone. Source:
    openai/simple-evals, common.py, normalize_extracted_answer, which replaces them everywhere.
    """
    if text.isascii():
        return text
    text = _NOT_PLAIN.sub(lambda found: found[0].translate(_PLAIN), text)
    return _ARABIC_CHOICE.sub(lambda found: found[0].translate(_ARABIC_LETTERS), text)


OPTION_LATIN = (
    "option|choice|letter|alternative|opción|letra|inciso|alternativa|opção|opzione|lettera|lettre|"
    "buchstabe|pilihan|opsi|huruf|chaguo|herufi|lựa chọn|phương án|đáp án|seçenek|şık|variant|optie|opcja"
)
OPTION_OTHER = (
    "选项|選項|選択肢|선택지|보기|вариант|варіант|опция|επιλογή|الخيار|گزینهٔ?|آپشن|אפשרות|विकल्प|বিকল্প|"
    "விருப்பம்|ఎంపిక|ഓപ്ഷൻ|ตัวเลือก|ข้อ"
)
ANSWER_LATIN = (
    "answer|respuesta|réponse|antwort|resposta|risposta|jawaban(?:nya)?|jawapan(?:nya)?|jibu|ìdáhùn|idahun|"
    "cevap|cevab[ıi]|yan[ıi]t|cavab|javob|câu trả lời|odpowiedź|odpověď|odpoveď|odgovor|antwoord|"
    "svar(?:et)?|vastaus|vastus|válasz|răspuns(?:ul)?|atsakymas|atbilde|përgjigja|erantzuna|sagot"
)
ANSWER_OTHER = (
    "答案|答え|正解|解答|回答|정답|답|الإجابة|الاجابة|إجابتي|الجواب|پاسخ|جواب|उत्तर|जवाब|উত্তর|விடை|பதில்|"
    "సమాధానం|జవాబు|ഉത്തരം|คำตอบ|ответ|відповідь|адказ|отговор|одговор|жауап|απ[αά]ντηση|תשובה|პასუხი|"
    "պատասխան"
)
RIGHT_LATIN = (
    "correct|right|best|correcta|correcte|bonne|richtig|richtige|corretta|giusta|correta|certa|"
    "yang (?:paling )?(?:benar|tepat)|benar|tepat|betul|sahihi|đúng(?: nhất)?|chính xác|doğru|juist|juiste|"
    "poprawna"
)
RIGHT_OTHER = (
    "正确|正確|正解|正しい|정답|सही|সঠিক|الصحيحة|الصحيح|صحيحة|صحيح|صحیح|درست|правильный|верный|верно|"
    "הנכונה|נכון|ที่ถูกต้อง(?:ที่สุด)?|ถูกต้อง"
)
BETWEEN = (
    "final|field|here|to (?:this|the) question|therefore|thus|hence|indeed|clearly|definitely|most likely|"
    "likely|probably|simply|akhir"
)
BETWEEN_OTHER = "应该|应|就|显然|选(?!项)|の選択肢|النهائية|نهایی|הסופית|tó tọ́|tó péye"
IS = (
    r"[:=>→—–]|(?<=\S )-(?=\s)|\b(?:is|was|would be|should be|must be|will be|es|est|serait|ist|lautet|è|é|"
    r"adalah|ialah|ni|là|jest|je|este|är|er)\b|是|为|為|は|은|는|هو|هي|คือ|היא|הוא|είναι|है|হল|হলো|হচ্ছে|ہے|"
    "است|არის|է"
)
# What needs no copula: verbs, and the nouns of languages that have none or put it last.
CHOOSE_LATIN = (
    "(?:i|we)(?:'ll| will| would|'d)? (?:choose|chose|select|pick|go with)|elijo|escojo|je choisis|"
    "ich wähle|escolho|scelgo|saya (?:me)?milih|ninachagua|chọn|(?:doğru|düzgün) (?:cevap|yanıt|seçenek|"
    "cavab)|odpowiedź to|vastaus on|vastus on"
)
CHOOSE_OTHER = (
    "(?<![不未误错若能应该])(?:选择?|選擇?)(?!项|項)|(?<![不未])[应该]选|故选|正确答案|正確答案|正解|정답|"
    "выбираю|правильный ответ|верный ответ|правильна відповідь|सही (?:उत्तर|विकल्प|जवाब)|সঠিক (?:উত্তর|"
    "বিকল্প)|درست جواب|پاسخ (?:صحیح|درست)|أختار|சரியான (?:விடை|பதில்)|సరైన సమాధానం|ശരിയായ ഉത്തരം"
)
GOES_ON = (
    r"(?<=\W)(?:because|since|as|due|given|based|which|not|rather|instead|but|although|though|while|so|"
    "therefore|here|considering|according|in this case|explanation|reasoning|porque|ya que|pues|debido|"
    "puesto|parce|car|puisque|weil|da|denn|perché|poiché|pois|já que|uma vez|karena|sebab|kerana|"
    "kwa sababu|nítorí|vì|bởi|do đó|çünkü|d[ıi]r|(?:şıkkı|seçeneği)(?:d[ıi]r)?|ponieważ|omdat|want|mert|"
    r"потому|так как|поскольку|тому|επειδή|διότι|γιατί)\b|选项|選項|项|項|因|です|だ(?!っ|と|け)|であ|"
    "となり|입니다|이다|이며|이고|예요|이에요|번|है|हो|आहे|छ|क्योंकि|হবে|কারণ|ہے|کیونکہ|است|می|زیرا|چون|"
    "لأن|لان|حيث|כי|מכיוון|เพราะ|ครับ|ค่ะ|ஆகும்|ఎందుకంటే|ആണ്"
)
AND = (
    r"[,/&+、،–—-]|\b(?:and|or|y|o|et|ou|und|oder|e|of|en|ve|veya|và|hoặc|dan|atau|na|au|tabi|и|или|та|або|"
    r"και|ή)\b|和|或|与|及|と|または|와|과|또는|و|أو|یا|או|और|या|এবং|বা|และ|หรือ"
)
WRONG = (
    r"\b(?:wrong|incorrect\w*|false|not|mauvaise|fausses?|falsche?|errad[ao]s?|salah|sai|yanlış|"
    "không)(?![a-z])|не|错|误|不|誤|違|아니|틀|गलत|नहीं|خطأ|خاطئ|غلط|ভুল"
)
